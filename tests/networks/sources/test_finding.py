from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from featx.errors import ModelError
from featx.networks.lenet import build_lenet
from featx.networks.sources.bundled import FeatxnetSource, LenetSource
from featx.networks.sources.finding import find_source
from featx.networks.sources.local import CallableSource, ModuleSource
from featx.networks.sources.saved_folder import FolderSource
from featx.networks.sources.torchvision import TorchvisionSource


def write_card(folder: Path, **card: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(json.dumps({"model": "lenet", **card}))
    return folder


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("featxnet", FeatxnetSource),
        ("lenet", LenetSource),
        ("alexnet", TorchvisionSource),
        ("featx.networks.lenet:build_lenet", CallableSource),
        (nn.ReLU(), ModuleSource),
    ],
)
def test_form_of_the_name_tells_the_source(model: Any, source: type) -> None:
    assert type(find_source(model)) is source


def test_timm_is_told_by_its_prefix() -> None:
    pytest.importorskip("timm")
    assert find_source("timm/resnet18").identity != find_source("resnet18").identity


def test_folder_is_found_by_path_by_text_and_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = write_card(tmp_path / "mine")
    sources = [find_source(name) for name in (folder, str(folder), "~/mine")]
    assert all(isinstance(source, FolderSource) for source in sources)
    assert {source.identity for source in sources} == {"folder:lenet:None"}


def test_folder_may_be_made_from_a_folder(tmp_path: Path) -> None:
    inner = write_card(tmp_path / "inner", n_classes=4)
    source = find_source(write_card(tmp_path / "outer", model=str(inner), n_classes=2))
    network: Any = source.build(source.weights("random"))
    assert network.fc2.out_features == 2


def test_network_of_a_name_with_a_colon_is_called_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    package = ModuleType("someones_package")
    package.net = lambda: calls.append(1) or build_lenet()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "someones_package", package)
    assert find_source("someones_package:net").name == "someones_package:net"
    assert calls == [1]


def test_folder_without_a_card_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Unknown model.*or a folder"):
        find_source(tmp_path)
