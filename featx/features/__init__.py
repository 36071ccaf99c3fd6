"""Feature sets, results, the columns of their tables, and their file formats."""
