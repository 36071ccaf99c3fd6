from __future__ import annotations

import pytest

import featx


@pytest.mark.parametrize("name", featx.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(featx, name).__doc__


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        featx.nonsense  # noqa: B018
