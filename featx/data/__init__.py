"""Find and decode images. All extractors share this decoder, so all see the same pixels."""
