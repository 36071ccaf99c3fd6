"""The process: how it ends, and the memory that it may take."""
