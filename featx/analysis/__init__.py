"""What features look like: similarity, clustering, embeddings, depth profiles."""
