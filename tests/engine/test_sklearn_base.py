"""scikit-learn's base classes come without scipy.stats and pandas, which still work."""

from __future__ import annotations

import subprocess
import sys

import pytest

SEEN = "print([n for n in ('scipy.stats', 'pandas') if n in sys.modules])"


@pytest.mark.parametrize("module", ["engine.extraction", "evaluation", "analysis", "finetuning"])
def test_base_classes_need_neither_scipy_stats_nor_pandas(module: str) -> None:
    assert run(f"import sys, featx.{module}, sklearn.base; {SEEN}") == "[]"


def test_scikit_learn_finds_both_when_it_uses_them() -> None:
    code = """
import featx.engine.sklearn_base, sys
from sklearn.utils import fixes
import scipy.stats, pandas
assert scipy.stats is sys.modules["scipy.stats"] and hasattr(pandas, "DataFrame")
print(fixes._mode([1, 2, 2], 0).mode, fixes.pd.DataFrame is pandas.DataFrame)
"""
    assert run(code) == "[2] True"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
