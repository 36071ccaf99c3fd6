"""Which features win: protocols, linear probes, comparison, domain transfer."""

import featx.engine.sklearn_base  # noqa: F401 - before others import scikit-learn.
