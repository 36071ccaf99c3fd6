"""What is trusted: folders that only the user can change, machine code, callables in files."""
