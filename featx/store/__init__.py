"""The store: rows on disk by content and settings."""
