"""Extract rows of images, whatever the extractor: in chunks, in parallel, and through a store."""
