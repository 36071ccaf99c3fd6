"""Which features win: linear classifiers on top of them, honest protocols, one table."""

from featx.probing.comparison import compare, probe
from featx.probing.domains import transfer
from featx.probing.evaluation import SplitScores, make_probe, score_splits
from featx.probing.linear import LinearProbe

__all__ = [
    "LinearProbe",
    "SplitScores",
    "compare",
    "make_probe",
    "probe",
    "score_splits",
    "transfer",
]
