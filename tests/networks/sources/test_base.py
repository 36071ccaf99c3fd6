from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from featx.errors import WeightsError
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import Source, Weights, _preprocessing


class LinearSource(Source):
    """A network of one layer, with one set of published weights."""

    def build(self, weights: Weights) -> nn.Module:
        return nn.Linear(3, 2)

    def published(self, weights: str) -> Weights:
        if weights != "default":
            raise WeightsError(f"no {weights}")
        return Weights("own", "own:1", self.preprocessing())

    def preprocessing(self) -> Preprocessing:
        return Preprocessing(8, (8, 8))

    def options(self, preprocessing: Preprocessing) -> dict[str, int]:
        return {"image_size": preprocessing.crop[0]}


def test_random_weights_have_nothing_to_read_and_the_networks_own_size() -> None:
    weights = LinearSource("net").weights("random")
    assert weights.read is None
    assert (weights.preprocessing.crop, weights.options) == ((8, 8), {"image_size": 8})


def test_name_is_looked_up_among_the_published() -> None:
    assert LinearSource("net").weights("default").name == "own"
    with pytest.raises(WeightsError, match="no V2"):
        LinearSource("net").weights("V2")


@pytest.mark.parametrize("name", ["w.safetensors", "random/w.safetensors"])
def test_file_is_taken_by_path_and_from_home(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    save_file(nn.Linear(3, 2).state_dict(), tmp_path / name)
    by_path, from_home = (LinearSource("net").weights(w) for w in (tmp_path / name, f"~/{name}"))
    assert by_path.digest == from_home.digest
    assert from_home.read is not None
    assert from_home.read()["weight"].shape == (2, 3)


def test_digest_of_a_file_follows_its_content_and_not_its_name(tmp_path: Path) -> None:
    for name, value in (("a", 0.0), ("b", 0.0), ("c", 1.0)):
        save_file({"weight": torch.full((2, 3), value)}, tmp_path / f"{name}.safetensors")
    digests = [
        LinearSource("net").weights(tmp_path / f"{name}.safetensors").digest for name in "abc"
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("declared", [None, "bilinear", 224])
def test_without_a_declaration_preprocessing_is_imagenets(declared: object) -> None:
    assert _preprocessing(declared) == Preprocessing()


def test_preprocessing_survives_its_plain_values() -> None:
    how = Preprocessing((20, 24), (16, 12), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), "bicubic")
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in how.settings().items()}
    assert _preprocessing(as_json) == how
    assert _preprocessing({"crop": 16}).crop == (16, 16)


def test_file_replaced_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    weights = LinearSource("net").weights(path)
    save_file({"weight": torch.ones(3)}, path)

    assert weights.read is not None
    with pytest.raises(WeightsError, match=r"w.safetensors changed while it was read; run again"):
        weights.read()
