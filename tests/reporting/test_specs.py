from __future__ import annotations

from featx.reporting.specs import short_specs


def test_random_weights_are_told_and_the_usual_ones_are_not() -> None:
    trained = [f'cnn:m:{layer},pooling=gap,weights="../a b/m.pth"' for layer in ("pool1", "fc7")]

    names = short_specs([*trained, "cnn:m:fc7,pooling=gap,weights=random"])

    assert list(names.values()) == ["cnn:m:pool1", "cnn:m:fc7", "cnn:m:fc7,weights=random"]


def test_what_tells_two_apart_is_kept() -> None:
    names = short_specs(["bovw:surf,n_words=100", "bovw:surf,n_words=500", "hog,cell_px=8"])

    assert list(names.values()) == [
        "bovw:surf,n_words=100",
        "bovw:surf,n_words=500",
        "hog,cell_px=8",
    ]


def test_two_files_of_weights_are_told_apart() -> None:
    names = short_specs(["cnn:m,weights=a/x.pth", "cnn:m,weights=b/y.pth"])

    assert list(names.values()) == ["cnn:m,weights=x.pth", "cnn:m,weights=y.pth"]


def test_names_that_would_be_the_same_stay_long() -> None:
    names = short_specs(["cnn:m,weights=a/x.pth", "cnn:m"])

    assert len(set(names.values())) == 2


def test_only_random_weights_stay_told() -> None:
    assert list(short_specs(["cnn:m:a,weights=random"]).values()) == ["cnn:m:a,weights=random"]
