"""Images in, rows out, whatever the extractor."""
