"""The process: how it ends, the files it leaves, and the memory that it may use."""
