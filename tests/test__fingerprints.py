from __future__ import annotations

import subprocess
import sys
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from featx._fingerprints import digest_bytes, fingerprint

DIFFERENT = [
    None,
    True,
    1,
    1.0,
    "1",
    b"1",
    [],
    [1],
    [[1]],
    (1, 2),
    {},
    {"a": 1},
    {"a": {"b": 1}},
    {"a": 1, "b": 1},
    PurePosixPath("1"),
    np.array([1]),
    np.array([1.0]),
    np.array([[1.0]]),
    float("nan"),
]


def test_different_values_have_different_fingerprints() -> None:
    assert len({fingerprint(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_nesting_cannot_be_confused_with_flatness() -> None:
    assert fingerprint([["a"], "b"]) != fingerprint(["a", ["b"]])
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y"}, {"y", "x"}),
        ((1, 2), [1, 2]),
        (np.float64(0.5), 0.5),
        (np.arange(6).reshape(2, 3).T, np.array([[0, 3], [1, 4], [2, 5]])),
    ],
)
def test_order_and_layout_do_not_matter(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


def test_fingerprint_is_the_same_in_another_process() -> None:
    code = "from featx._fingerprints import fingerprint; print(fingerprint({'a': {'x', 'y'}}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == fingerprint({"a": {"x", "y"}})


def test_what_cannot_be_digested_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        fingerprint({"a": object()})


def test_digest_depends_on_every_byte() -> None:
    assert digest_bytes(b"ab") != digest_bytes(b"ba")
