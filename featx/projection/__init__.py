"""Layers seen: maps in two dimensions, and measures of how classes gather in each layer."""
