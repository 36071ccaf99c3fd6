from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featx.data.reading import Reading, make_reading
from featx.errors import SpecError


@pytest.mark.parametrize(
    ("given", "value_range"),
    [
        ("0,4095", (0.0, 4095.0)),
        ((0, 4095), (0.0, 4095.0)),
        ([np.int64(-1000), 3000.0], (-1000.0, 3000.0)),
        ("-1000, 3000", (-1000.0, 3000.0)),
        ("dtype", "dtype"),
        ("file", "file"),
        ("p1,p99", "p1,p99"),
        (("p1", "p99.5"), "p1,p99.5"),
        (None, None),
    ],
)
def test_a_range_is_read_from_text_and_from_values(given: Any, value_range: Any) -> None:
    assert make_reading(value_range=given).value_range == value_range


@pytest.mark.parametrize("window", ["40,400", (40, 400)])
def test_a_window_is_a_range_around_its_level(window: Any) -> None:
    assert make_reading(window=window).limits == (-160, 240)


@pytest.mark.parametrize(
    ("given", "bands"), [("4,3,2", (4, 3, 2)), ([1], (1,)), ("each", "each"), (None, None)]
)
def test_bands_are_read_from_text_and_from_values(given: Any, bands: Any) -> None:
    assert make_reading(bands=given).bands == bands


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"value_range": "0"}, "expected dtype, file, LOW,HIGH or p1,p99; got '0'"),
        ({"value_range": (5, 5)}, "black must be below white"),
        ({"value_range": (0, np.inf)}, "finite"),
        ({"value_range": "p99,p1"}, "rising percentiles"),
        ({"value_range": "p1,p101"}, "up to 100"),
        ({"window": "40"}, "expected LEVEL,WIDTH"),
        ({"window": (40, 0)}, "width must be above 0"),
        ({"window": (1, 2), "value_range": (0, 1)}, "give only one"),
        ({"pages": "last"}, "pages must be one of first, all, max, mean; got 'last'"),
        ({"bands": "0,1"}, "numbers from 1"),
        ({"bands": "red"}, "numbers from 1"),
        ({"bands": ()}, "numbers from 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_reading(**parameters)


def test_settings_hold_what_is_not_the_default() -> None:
    assert Reading().settings() == {}
    reading = make_reading(window=(2, 4), pages="max", bands=[2])
    assert reading.settings() == {"value_range": (0, 4), "pages": "max", "bands": (2,)}


def test_where_a_range_comes_from_decides_nothing() -> None:
    assert Reading((0, 1), measured="p1,p99") == Reading((0, 1))


@pytest.mark.parametrize(
    ("bands", "n_bands"), [(None, 3), ("each", 3), ((2,), 3), ((4, 3, 2), 3), ((1, 2), 2)]
)
def test_networks_are_adapted_to_other_than_gray_and_rgb(bands: Any, n_bands: int) -> None:
    assert make_reading(bands=bands).n_bands == n_bands


def test_all_pages_are_images_of_their_own_unless_bands_are_named() -> None:
    assert make_reading(pages="all").is_each
    assert not make_reading(pages="all", bands=(1, 2, 3)).is_each
