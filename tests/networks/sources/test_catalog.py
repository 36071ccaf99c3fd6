from __future__ import annotations

from pathlib import Path

import pytest

from featx.networks.sources.catalog import list_models


def test_featxnet_comes_first_and_all_of_torchvisions_classifiers_follow() -> None:
    infos = list_models()
    assert infos[0].name == "featxnet"
    assert len(infos) > 79
    assert infos[1].name == "lenet"
    assert {info.source for info in infos[2:]} == {"torchvision"}


@pytest.mark.parametrize("pattern", ["resnet5", "resnet5*", "RESNET5"])
def test_pattern_is_a_part_of_the_name_or_has_wildcards(pattern: str) -> None:
    names = [info.name for info in list_models(pattern)]
    assert "resnet50" in names
    assert all("resnet5" in name for name in names)


def test_default_weights_come_first() -> None:
    (info,) = list_models("resnet50*")[:1]
    assert info.weights == ("IMAGENET1K_V2", "IMAGENET1K_V1")
    assert info.n_parameters == 25557032


def test_weights_are_local_once_they_are_in_torchs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (info,) = list_models("alexnet")
    assert not info.is_local
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / info.url.rpartition("/")[2]).touch()
    assert list_models("alexnet")[0].is_local


def test_timm_is_listed_when_asked_for() -> None:
    pytest.importorskip("timm")
    names = [info.name for info in list_models("timm/vit_tiny_patch16_224")]
    assert "timm/vit_tiny_patch16_224" in names
