"""Which features win: linear classifiers on top of them, honest protocols, one table."""

from featx.probing.linear import LinearProbe

__all__ = ["LinearProbe"]
