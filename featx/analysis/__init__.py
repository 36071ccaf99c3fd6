"""What features look like: similarity, clustering, embeddings, depth profiles."""

import featx.engine.sklearn_base  # noqa: F401 - before others import scikit-learn.
