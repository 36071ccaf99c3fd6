"""Bags of visual words: local descriptors, codebooks, encodings."""
