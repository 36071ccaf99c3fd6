"""What comes out: feature sets, results, the columns of their tables, and file formats."""
