from __future__ import annotations

import sys
from importlib.metadata import version

import numpy as np

from featx.engine.extraction import extract


def test_provenance_says_what_was_run() -> None:
    provenance = extract(np.zeros((2, 4, 4), np.uint8), "color,n_bins=4").provenance
    [entry] = provenance["extractors"]
    assert entry["spec"] == "color:4"
    assert entry["settings"]["parameters"] == {"n_bins": 4}
    assert provenance["versions"]["numpy"] == version("numpy")
    assert provenance["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
