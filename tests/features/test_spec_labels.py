from __future__ import annotations

from featx.features.spec_labels import short_specs


def test_files_and_folders_of_models_lose_their_folders() -> None:
    specs = ['cnn:m:a,weights="../a b/m.pth"', "cnn:/nets/mine:a", 'cnn:"C:/nets/other":a']

    assert list(short_specs(specs).values()) == [
        "cnn:m:a,weights=m.pth",
        "cnn:mine:a",
        "cnn:other:a",
    ]


def test_name_of_a_timm_model_is_whole() -> None:
    assert short_specs(["cnn:timm/resnet18:pool1"]) == {
        "cnn:timm/resnet18:pool1": "cnn:timm/resnet18:pool1"
    }


def test_files_of_one_name_in_two_folders_are_told_apart_by_them() -> None:
    specs = ["cnn:m,weights=a/x.pth", "cnn:m,weights=b/x.pth", "cnn:n,weights=a/x.pth"]

    assert list(short_specs(specs).values()) == [*specs[:2], "cnn:n,weights=x.pth"]
    assert list(short_specs(specs[:2], without_common=True).values()) == specs[:2]


def test_settings_stay_unless_common_ones_are_to_go() -> None:
    specs = ["cnn:m:a,pooling=gap", "cnn:m:b,pooling=gap"]

    assert list(short_specs(specs).values()) == specs
    assert list(short_specs(specs, without_common=True).values()) == ["cnn:m:a", "cnn:m:b"]


def test_random_weights_are_named_and_the_usual_ones_are_not() -> None:
    trained = [f'cnn:m:{layer},pooling=gap,weights="../a b/m.pth"' for layer in ("pool1", "fc7")]

    names = short_specs([*trained, "cnn:m:fc7,pooling=gap,weights=random"], without_common=True)

    assert list(names.values()) == ["cnn:m:pool1", "cnn:m:fc7", "cnn:m:fc7,weights=random"]


def test_what_tells_two_apart_stays() -> None:
    specs = ["bovw:surf,n_words=100", "bovw:surf,n_words=500", "hog,cell_px=8"]

    assert list(short_specs(specs, without_common=True).values()) == specs


def test_two_files_of_weights_are_told_apart() -> None:
    names = short_specs(["cnn:m,weights=a/x.pth", "cnn:m,weights=b/y.pth"], without_common=True)

    assert list(names.values()) == ["cnn:m,weights=x.pth", "cnn:m,weights=y.pth"]


def test_names_that_would_be_the_same_stay_long() -> None:
    names = short_specs(["cnn:m,weights=a/x.pth", "cnn:m"], without_common=True)

    assert len(set(names.values())) == 2


def test_random_weights_of_a_single_spec_stay() -> None:
    names = short_specs(["cnn:m:a,weights=random"], without_common=True)

    assert list(names.values()) == ["cnn:m:a,weights=random"]
