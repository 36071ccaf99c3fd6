from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import TypeAlias

import pytest

from featx.engine.registry import list_extractors, registered_class
from featx.engine.specs import make_extractor, parse_spec, spec_of
from featx.errors import SpecError
from featx.extractors import names
from featx.extractors.cnn import CNNFeatures
from featx.extractors.color import ColorHistogram
from featx.extractors.hog import HOG

Plugins: TypeAlias = Callable[[dict[str, str]], None]


def test_spec_gives_parameters_their_types() -> None:
    hog = make_extractor("hog,cell_px=16,transform_sqrt=true,block_norm=L1,image_size=64x96")
    assert (hog.cell_px, hog.transform_sqrt, hog.block_norm) == (16, True, "L1")
    assert hog.image_size == (64, 96)


def test_quoted_parts_keep_colons_and_commas() -> None:
    name, indices, named = parse_spec("cnn:\"C:/nets/a,b\":fc7,weights='x=1,y.pth'")
    assert (name, indices) == ("cnn", ["C:/nets/a,b", "fc7"])
    assert named == {"weights": "x=1,y.pth"}


def test_text_parameters_stay_text() -> None:
    assert make_extractor("cnn:alexnet:-1").layer == "-1"


@pytest.mark.parametrize(
    "spec", ["color", "color:8", "hog,cell_px=16", "bovw:sift,encoding=vlad,n_words=20"]
)
def test_spec_of_is_the_inverse_of_make_extractor(spec: str) -> None:
    assert spec_of(make_extractor(spec)) == spec


def test_spec_of_quotes_what_needs_it() -> None:
    spec = spec_of(CNNFeatures("C:/nets/mine", "fc7", weights="a,b.pth"))
    assert parse_spec(spec) == ("cnn", ["C:/nets/mine", "fc7"], {"weights": "a,b.pth"})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hgo", "Did you mean 'hog'"),
        ("hog,cel_px=3", "Did you mean 'cell_px'"),
        ("hog,cell_px", "where key=value is wanted"),
        ("hog:1:2", "arguments by place"),
        ("color,n_bins=0", "must be an int in the range"),
        ('cnn:"a', "not closed"),
        ("hog,max_pixels=1000", "max_pixels describes the images.*Give it to extract"),
        ("color,image_shape=8x8", "or in Python to the estimator"),
        ("cnn:alexnet,value_range=0x9", "would change nothing here"),
        ("", "names no extractor"),
    ],
)
def test_wrong_spec_names_the_cure(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        make_extractor(spec)
    assert "\n" not in str(caught.value)


def test_estimator_keeps_what_says_how_images_are_read() -> None:
    assert make_extractor("color", max_pixels=9).max_pixels == 9


def test_more_parameters_reach_only_those_that_have_them() -> None:
    assert make_extractor("color", n_jobs=2, pooling="gap").n_jobs == 2


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
