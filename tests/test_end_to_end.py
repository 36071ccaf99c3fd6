"""The main job on real photographs and real weights, as a user does it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision.models import SqueezeNet1_0_Weights, squeezenet1_0
from torchvision.models.feature_extraction import create_feature_extractor

import featx.data.images
from featx import FeatureSet, make_extractor
from featx.cli import main

SPECS = ("hog", "bovw:surf,n_words=100", "bovw:orb,n_words=100", "bovw:sift,encoding=fisher")
WEIGHTS = "weights/squeezenet1_0-imagenet.pth"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["featx", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def reference_rows(paths: list[str], weights: Path) -> Iterator[list[npt.NDArray[np.float32]]]:
    """First and last pooled maps as torchvision's own tools give them, image by image."""
    net = squeezenet1_0()
    net.load_state_dict(torch.load(weights, weights_only=True))
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    tap = create_feature_extractor(net, ["features.2", "features.12"]).eval()
    transform = SqueezeNet1_0_Weights.IMAGENET1K_V1.transforms()
    for path in paths:
        with torch.inference_mode():  # never across a yield: the mode would leak to the caller
            maps = tap(transform(Image.open(path).convert("RGB"))[None])
        yield [value.flatten().numpy() for value in maps.values()]


@pytest.mark.slow
def test_network_features_of_a_real_folder(
    shared: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "ants.npz"
    command = ["extract", shared("data/ants_bees"), "--model", "squeezenet1_0", "--weights",
               shared(WEIGHTS), "--layer", "pool1", "--layer", "-1", "-o", output]  # fmt: skip
    assert run(monkeypatch, *command) == 0
    features = FeatureSet.load(output)
    assert features.X.shape == (398, 279_936 + 86_528)
    assert features.failures == []
    assert features.labels is not None
    assert features.splits is not None
    assert {(s, c) for s, c in zip(features.splits, features.labels)} == {
        (split, name) for split in ("train", "val") for name in ("ants", "bees")
    }
    some = list(range(0, 398, 20))
    rows = reference_rows([str(features.paths[i]) for i in some], shared(WEIGHTS))
    for i, wanted in zip(some, rows):
        for name, row in zip(("pool1", "-1"), wanted):
            deviation = np.linalg.norm(features.layer(name)[i] - row) / np.linalg.norm(row)
            assert deviation < 1e-5, (features.paths[i], name)
    forbid_work(monkeypatch)
    assert run(monkeypatch, *command) == 0
    np.testing.assert_array_equal(FeatureSet.load(output).X, features.X)


def forbid_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any decoding and any forward pass fail."""
    monkeypatch.setattr(featx.data.images, "decode", lambda *_, **__: pytest.fail("decoded"))
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda *_: pytest.fail("forward pass"))


@pytest.fixture
def flowers(shared: Callable[[str], Path], tmp_path: Path) -> Path:
    """Three kinds of flowers, twenty images each."""
    for folder in sorted(shared("data/flowers17").iterdir())[:3]:
        index = tmp_path / "flowers" / folder.name
        index.mkdir(parents=True)
        for path in sorted(folder.glob("*.jpg"))[:20]:
            os.symlink(path, index / path.name)
    return tmp_path / "flowers"


def test_classical_features_side_by_side(
    flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "f.parquet"
    wishes = [part for spec in SPECS for part in ("-e", spec)]
    assert run(monkeypatch, "extract", flowers, *wishes, "-o", output) == 0
    features = FeatureSet.load(output)
    assert list(features.blocks) == list(SPECS)
    assert len(features.X) == 60
    assert np.isfinite(features.X).all()


@pytest.mark.parametrize("spec", SPECS)
def test_classical_features_beat_chance_in_a_pipeline(flowers: Path, spec: str) -> None:
    paths = sorted(map(str, flowers.glob("*/*.jpg")))
    labels = [Path(path).parent.name for path in paths]
    pipeline = make_pipeline(
        make_extractor(spec, store=flowers.parent / "store"),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    assert cross_val_score(pipeline, paths, labels, cv=5).mean() > 0.45  # chance: 1 / 3


def test_the_shortest_command_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("reached for a network"))
    assert run(monkeypatch, "extract", "--layer", "pool1", "--pooling", "gap", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n_images"], result["data"]) == (1797, "digits")
    assert np.isfinite(FeatureSet.load("features.npz").X).all()


def test_renamed_folder_is_not_computed_again(
    flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["extract", "-e", "hog", "-o", tmp_path / "f.npz"]
    assert run(monkeypatch, *command, flowers) == 0
    moved = tmp_path / "moved"
    shutil.move(flowers, moved)
    forbid_work(monkeypatch)
    assert run(monkeypatch, *command, moved) == 0
