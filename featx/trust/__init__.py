"""What may be trusted: folders that nobody else can change, and the machine code kept in them."""
