from __future__ import annotations

import argparse
import functools
import http.server
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mnasnet0_5, resnet18

from featx.errors import SeveralWeightsWarning, WeightsError
from featx.networks.weights import (
    _align_names,
    fetch,
    file_digest,
    fit_state,
    is_weights_file,
    read_state,
)


class Bomb:
    """What a malicious checkpoint holds: a file is made when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_with_code_is_refused_and_not_run(suffix: str, is_zip: bool, tmp_path: Path) -> None:
    path, marker = tmp_path / f"w{suffix}", tmp_path / "marker"
    torch.save(
        {"state_dict": {"0.weight": Bomb(marker)}}, path, _use_new_zipfile_serialization=is_zip
    )
    with pytest.raises(WeightsError, match="could execute code"):
        read_state(path)
    assert not marker.exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "w.pth", tmp_path / "marker"
    path.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(WeightsError):
        read_state(path)
    assert not marker.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"Save only `model.state_dict\(\)`\. If you trust"):
        read_state(tmp_path / "w.pth")


def test_safetensors_and_pth_hold_the_same(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save(state, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    one, other = (read_state(tmp_path / f"w{suffix}") for suffix in (".pth", ".safetensors"))
    assert one.keys() == other.keys() == state.keys()
    assert all(torch.equal(one[name], other[name]) for name in state)


@pytest.mark.parametrize("name", ["cifar10-resnet20-12fca82f.th", "cifar10-resnet32-d509ac18.th"])
def test_strangers_checkpoint_is_unnested(name: str, shared: Callable[[str], Path]) -> None:
    state = read_state(shared(f"weights/{name}"))
    assert state["module.conv1.weight"].shape == (16, 3, 3, 3)


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], "text"])
def test_a_file_without_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="contains no state dict"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(os.urandom(300))
    with pytest.raises(WeightsError):
        read_state(path)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.module.", "net.backbone."])
def test_prefixes_are_taken_off(prefix: str) -> None:
    state = {f"{prefix}conv.weight": torch.zeros(1), f"{prefix}fc.bias": torch.zeros(1)}
    names = _align_names(state, ["conv.weight", "fc.bias"])
    assert list(names.values()) == ["conv.weight", "fc.bias"]


def test_averaged_weights_are_understood() -> None:
    state = {"n_averaged": torch.zeros(()), "module.conv.weight": torch.zeros(1)}
    assert _align_names(state, ["conv.weight"])["module.conv.weight"] == "conv.weight"


def test_report_says_what_became_of_each_tensor() -> None:
    state = {f"module.{k}": v for k, v in network().state_dict().items() if k != "0.bias"}
    state["module.2.weight"], state["module.9.x"] = torch.zeros(7, 4), torch.zeros(1)
    report = fit_state(network(), state)
    assert report.new == {
        "0.bias": "not in the weights",
        "2.weight": "expected (2, 4), got (7, 4)",
    }
    assert report.skipped == ["module.2.weight", "module.9.x"]
    assert report.unknown == ["9.x"]
    assert report.renamed["module.0.weight"] == "0.weight"
    assert str(report).startswith("loaded ")


def test_a_pattern_takes_only_what_it_names() -> None:
    state = {name: torch.ones_like(tensor) for name, tensor in network().state_dict().items()}
    fitted = network()
    report = fit_state(fitted, state, load="0.*")
    assert report.loaded == ["0.weight", "0.bias"]
    assert torch.equal(fitted[2].weight, network()[2].weight)


def test_digest_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"one")
    before = file_digest(path)
    path.write_bytes(b"three")
    assert len({before, file_digest(path)}) == 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a server on this machine that hands out a folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "net-9834876d.pth").write_bytes(b"x")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *args: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_weights_are_downloaded_once(server: str, hub: Path) -> None:
    path = fetch(f"{server}/net-9834876d.pth")
    assert path == hub / "net-9834876d.pth"
    assert path.read_bytes() == b"x"
    path.write_bytes(b"cached")
    assert fetch(f"{server}/net-9834876d.pth").read_bytes() == b"cached"


def test_a_download_that_was_damaged_is_not_kept(server: str, hub: Path) -> None:
    with pytest.raises(WeightsError, match="invalid hash"):
        fetch(f"{server}/net-9834876d.pth", hash_prefix="9834876d")
    assert list(hub.iterdir()) == []


def test_without_network_it_says_which_file_and_where(hub: Path) -> None:
    url = "http://127.0.0.1:9/models/net-12345678.pth"
    with pytest.raises(WeightsError) as caught:
        fetch(url)
    assert url in str(caught.value)
    assert str(hub / "net-12345678.pth") in str(caught.value)


def test_a_file_that_is_not_there_on_the_server(server: str, hub: Path) -> None:
    with pytest.raises(WeightsError, match="404"):
        fetch(f"{server}/other.pth")


def test_a_pipe_in_place_of_weights_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="is not a regular file"):
        file_digest(tmp_path / "weights.safetensors")


RESNET = resnet18().state_dict()


def moved(prefix: str, shift: float = 0.0) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value + shift for name, value in RESNET.items()}


@pytest.mark.parametrize(
    ("content", "shift"),
    [
        ({"state_dict": moved(""), "state_dict_ema": moved("", 1)}, 0),
        (moved("backbone.") | {"neck.weight": torch.zeros(2)}, 0),
        ({"state_dict": moved("module.encoder_q.") | moved("module.encoder_k.", 1)}, 0),
        ({"student": moved("module.backbone."), "teacher": moved("backbone.", 1)}, 1),
        ({"model": moved("_orig_mod.module."), "epoch": 3}, 0),
    ],
    ids=["ema", "backbone", "moco", "dino", "compiled"],
)
@pytest.mark.filterwarnings("ignore::featx.errors.SeveralWeightsWarning")
def test_checkpoints_of_strangers_are_read(tmp_path: Path, content: Any, shift: int) -> None:
    torch.save(content, tmp_path / "w.pth")
    network = resnet18()

    report = fit_state(network, read_state(tmp_path / "w.pth"))

    assert not report.new
    assert torch.equal(network.state_dict()["fc.bias"], RESNET["fc.bias"] + shift)


def test_a_part_of_a_checkpoint_is_taken_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"state_dict": moved(""), "state_dict_ema": moved("", 1)}, file)

    message = r"using 'state_dict'; choose another with weights=.*w\.pth#state_dict_ema"
    with pytest.warns(SeveralWeightsWarning, match=message):
        read_state(file)

    state = read_state(f"{file}#state_dict_ema")
    assert torch.equal(state["fc.bias"], RESNET["fc.bias"] + 1)
    assert file_digest(f"{file}#state_dict_ema") != file_digest(file)
    with pytest.raises(
        WeightsError, match=r"no entry 'state_dict_eam'\. Did you mean 'state_dict_ema'"
    ):
        read_state(f"{file}#state_dict_eam")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
    ],
)
def test_what_is_no_file_of_weights_is_told_by_its_beginning(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_state(tmp_path / "w.pth")


def test_objects_beside_the_tensors_are_named(tmp_path: Path) -> None:
    torch.save({"state_dict": RESNET, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"more than tensors \(argparse\.Namespace\)"):
        read_state(tmp_path / "w.pth")


def test_mnasnet_takes_its_own_weights(tmp_path: Path) -> None:
    network = mnasnet0_5()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    assert not fit_state(mnasnet0_5(), read_state(tmp_path / "w.pth")).new


def test_a_file_of_the_working_folder_needs_no_known_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(RESNET, tmp_path / "checkpoint.pth.tar")
    monkeypatch.chdir(tmp_path)
    assert is_weights_file("checkpoint.pth.tar")
    assert not is_weights_file("IMAGENET1K_V1")
