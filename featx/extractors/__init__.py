"""Extractors: pictures in, one row of features for each out."""
