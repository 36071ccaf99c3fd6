from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import TypeAlias

import pytest

from featx.engine.registry import list_extractors, registered_class
from featx.engine.specs import make_extractor
from featx.extractors import names
from featx.extractors.color import ColorHistogram
from featx.extractors.hog import HOG

Plugins: TypeAlias = Callable[[dict[str, str]], None]


def test_every_built_in_has_a_summary() -> None:
    assert all(entry.summary.endswith(".") for entry in list_extractors())


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    """Lets a test say which entry points are installed: name -> target."""

    def install(targets: dict[str, str]) -> None:
        points = [EntryPoint(*item, names.GROUP) for item in targets.items()]
        monkeypatch.setattr(names, "entry_points", lambda group: points)
        names.list_plugins.cache_clear()

    yield install
    monkeypatch.undo()
    names.list_plugins.cache_clear()


def test_entry_points_add_extractors(plugins: Plugins) -> None:
    color = "featx.extractors.color:ColorHistogram"
    plugins({"mine": color, "hog": color})
    assert isinstance(make_extractor("mine,n_bins=4"), ColorHistogram)
    assert isinstance(make_extractor("hog"), HOG)


def test_registered_classes_are_found_by_their_name() -> None:
    assert registered_class(names.registered_name(HOG)) is HOG


@pytest.mark.parametrize("name", ["featx.extractors.hog.HOG", "os.system", "", "?:hog"])
def test_nothing_else_is_a_registered_class(name: str) -> None:
    assert registered_class(name) is None
