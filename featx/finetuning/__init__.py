"""Transfer learning: freeze, replace the head, unfreeze, fine-tune, pretrain, advise."""

import featx.engine.sklearn_base  # noqa: F401 - before others import scikit-learn.
