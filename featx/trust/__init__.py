"""What may be trusted: folders that only the user can change, machine code, names of code."""
