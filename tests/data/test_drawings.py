"""Drawn objects: told apart by shape alone, and the same at every call."""

from __future__ import annotations

import numpy as np
import pytest

from featx import load_dataset
from featx._fingerprints import digest_bytes
from featx.data import drawings
from featx.data.drawings import draw_objects


def test_drawing_twice_gives_the_same_bytes() -> None:
    first, again = (draw_objects.__wrapped__(2)[0] for _ in range(2))

    assert digest_bytes(first.tobytes()) == digest_bytes(again.tobytes())


def test_larger_sets_begin_with_the_smaller_ones() -> None:
    few, labels = draw_objects(1)
    more, more_labels = draw_objects(2)

    np.testing.assert_array_equal(few, more[::2])
    assert labels.tolist() == more_labels[::2].tolist()


def test_no_two_images_are_alike() -> None:
    images = draw_objects(2)[0]

    assert len({image.tobytes() for image in images}) == len(images) == 20


def test_images_cannot_be_changed_for_the_next_caller() -> None:
    with pytest.raises(ValueError, match="read-only"):
        draw_objects(1)[0][0] = 0


@pytest.mark.parametrize("name", drawings._OUTLINES)
def test_objects_are_drawn_inside_the_unit_square(name: str) -> None:
    for seed in range(20):
        for points, tone in drawings._OUTLINES[name](np.random.default_rng(seed)):
            assert np.abs(points).max() < 1.2
            assert 0 <= tone <= drawings._N_TONES


def test_data_set_names_images_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "draw_objects", lambda: draw_objects(2))

    dataset = load_dataset("drawings")

    assert dataset.names[:3] == [
        "drawings/butterfly/00", "drawings/butterfly/01", "drawings/carrot/00"
    ]  # fmt: skip
    assert (len(dataset), dataset.labels[2], dataset.source) == (20, "carrot", "drawings")


def test_mean_color_does_not_tell_the_classes() -> None:
    images, labels = draw_objects(10)
    means = images.mean((1, 2))
    spread = np.std([means[labels == name].mean(0) for name in np.unique(labels)], 0)

    # Means of ten images scatter by a third of the deviation between images, if classes are alike.
    assert (spread < 1.5 * means.std(0) / np.sqrt(10)).all()
