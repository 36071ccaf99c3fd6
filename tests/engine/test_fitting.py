from __future__ import annotations

from typing import Any

import pytest

from featx.data.images import Images
from featx.engine.fitting import fit_extractor, must_learn
from featx.extractors.bovw.bag_of_visual_words import BagOfVisualWords
from featx.extractors.color import MeanColor
from featx.store.feature_store import FeatureStore
from featx.streaming.progress import ProgressCallback


class Log(ProgressCallback):
    def __init__(self) -> None:
        self.lines: list[Any] = []

    def begin(self, names: Any, widths: Any) -> None:
        self.lines.append(names)

    def note(self, text: str) -> None:
        self.lines.append(text)

    def plan(self, n_images: int, n_cached: int) -> None:
        self.lines.append((n_images, n_cached))


@pytest.fixture
def bag(store: FeatureStore) -> BagOfVisualWords:
    return BagOfVisualWords("orb", n_words=4, image_size=160, store=store)


def test_what_learns_must_learn_until_it_is_fitted(photos: list[str]) -> None:
    bag = BagOfVisualWords("orb", n_words=4)
    assert must_learn(bag)
    assert not must_learn(bag.fit(photos[:2]))
    assert not must_learn(MeanColor())


def test_fitting_stores_the_base_of_all_images_and_learns_from_some(
    bag: BagOfVisualWords, photos: list[str], store: FeatureStore
) -> None:
    fitted = fit_extractor(
        bag, Images(photos), [0, 1, 2], name="words", progress=ProgressCallback()
    )
    assert fitted is bag
    assert store.info().n_rows == len(photos)
    alone = BagOfVisualWords("orb", n_words=4, image_size=160).fit(photos[:3])
    assert fitted.fingerprint() == alone.fingerprint()


def test_fitting_says_what_it_does(bag: BagOfVisualWords, photos: list[str]) -> None:
    log = Log()
    fit_extractor(bag, Images(photos), [0, 1], name="words", progress=log, which="of a test")
    assert log.lines == [
        ["words, local descriptors"],
        (12, 0),
        "words is fitted to the 2 images of a test",
    ]
