"""Images: found, named, decoded. The only decoder, so that every extractor sees the same pixels."""
