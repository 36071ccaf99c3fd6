"""Extractors: images in, one row of features for each out."""
