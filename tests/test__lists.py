from __future__ import annotations

from typing import Any

import pytest

from featx._lists import parse_integers, parse_names
from featx.errors import SpecError


def test_names_come_from_one_text_or_several() -> None:
    assert parse_names("photo, sketch") == ["photo", "sketch"]
    assert parse_names(["pool1,fc6", "fc7"]) == ["pool1", "fc6", "fc7"]
    assert parse_names([]) == []


@pytest.mark.parametrize("text", ["", "a,", ",a", "a,,b", ["a", " "]])
def test_an_empty_name_is_refused(text: Any) -> None:
    with pytest.raises(SpecError, match="Expected names separated by commas, got "):
        parse_names(text)


def test_integers_come_from_text_or_numbers() -> None:
    assert parse_integers("1, 2,05") == [1, 2, 5]
    assert parse_integers([256, "64,0"]) == [256, 64, 0]


@pytest.mark.parametrize("text", ["", "a", "1.5", "-1", "1,", "0,1", "٣a"])
def test_what_is_no_whole_number_from_the_minimum_on_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="Expected integers of at least 1, separated by commas"):
        parse_integers(text, minimum=1)
