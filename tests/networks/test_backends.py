"""Which back end computes, in batches of what length, on how many cores."""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from featx.errors import ModelError
from featx.extractors.cnn import CNNFeatures
from featx.networks import backends
from featx.networks.backends import _break_even_images, choose_backend, pass_length
from featx.networks.network import NetworkConfig
from featx.networks.pooling import Tap
from featx.store.shards import write_shard
from featx.streaming import chunks


def configured(model: str, layer: str = "-1", **how: object) -> tuple[NetworkConfig, list[Tap]]:
    extractor = CNNFeatures(model, layer, weights="random", **how)  # type: ignore[arg-type]
    return extractor._config(), list(extractor._taps(extractor.layers).values())


@pytest.fixture
def fast_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_openvino", lambda: True)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.mark.usefixtures("fast_machine")
def test_auto_converts_for_much_work_alone() -> None:
    config, taps = configured("squeezenet1_0", device="cpu")
    enough = int(np.ceil(_break_even_images(config, taps)))
    assert choose_backend("auto", config, taps, enough, 1) == "openvino"
    assert choose_backend("auto", config, taps, enough - 1, 1) == "torch"
    assert choose_backend("auto", config, taps, enough, 2) == "torch"
    assert choose_backend("torch", config, taps, enough, 1) == "torch"
    assert choose_backend("openvino", config, taps, 1, 1) == "openvino"


@pytest.mark.usefixtures("fast_machine")
def test_auto_stays_in_torch_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    hooked, taps = configured("squeezenet1_0", device="cpu", tap="hooks")
    assert choose_backend("auto", hooked, taps, 10**9, 1) == "torch"
    config, taps = configured("squeezenet1_0", device="cpu")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert choose_backend("auto", config, taps, 10**9, 1) == "torch"
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(backends, "has_openvino", lambda: False)
    assert choose_backend("auto", config, taps, 10**9, 1) == "torch"


def test_a_missing_openvino_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_openvino", lambda: False)
    config, taps = configured("squeezenet1_0", device="cpu")
    with pytest.raises(ModelError, match=r"pip install 'featx\[openvino\]'"):
        choose_backend("openvino", config, taps, 1, 1)


@pytest.mark.usefixtures("fast_machine")
def test_openvino_is_refused_beside_a_processor() -> None:
    config, taps = configured("squeezenet1_0", device="meta")
    with pytest.raises(ModelError, match="device='cpu'"):
        choose_backend("openvino", config, taps, 1, 1)


@pytest.mark.parametrize(
    ("model", "layer", "torchs", "openvinos"),
    [
        ("squeezenet1_0", "pool1", 2, 1),
        ("squeezenet1_0", "-1", 1, 1),
        ("alexnet", "pool1", 8, 2),
        ("alexnet", "fc7", 32, 32),
        ("resnet18", "-1", 2, 2),
    ],
)
def test_few_images_a_pass_but_for_heavy_weights(
    model: str, layer: str, torchs: int, openvinos: int
) -> None:
    arguments = configured(model, layer, device="cpu")
    assert (pass_length(*arguments, "torch"), pass_length(*arguments, "openvino")) == (
        torchs,
        openvinos,
    )


def test_rows_do_not_depend_on_the_number_of_cores() -> None:
    images = np.random.default_rng(0).integers(0, 256, (23, 64, 64, 3), np.uint8)
    network = CNNFeatures("squeezenet1_0", "-1", weights="random", size=64, device="cpu")
    rows = [network.set_params(n_jobs=n).fit_transform(images) for n in (1, 2, 3)]
    for other in rows[1:]:
        np.testing.assert_allclose(other, rows[0], rtol=1e-4, atol=1e-5)


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_torch_has_its_threads_back_afterwards() -> None:
    n_threads = torch.get_num_threads()
    network = CNNFeatures("alexnet", "pool1", weights="random", size=64, device="cpu")
    with (
        network.worker_threads(["pool1"], 1000, 2) as outer,
        network.worker_threads(["pool1"], 1000, 2) as inner,
    ):
        for threads in (outer, inner):
            with ThreadPoolExecutor(1, initializer=threads.begin) as pool:
                assert pool.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == threads_of_a_new_thread() == n_threads


def test_few_images_have_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = configured("alexnet", "pool1", device="cpu", size=64)
    assert backends.n_threads(*arguments, n_images=1, n_jobs=16) == 16
    assert backends.n_threads(*arguments, n_images=5, n_jobs=16) == 3
    assert backends.n_threads(*arguments, n_images=1000, n_jobs=16) == 1
    assert backends.n_threads(*arguments, n_images=1000, n_jobs=1) == 1
    hooked = configured("alexnet", "pool1", device="cpu", size=64, tap="hooks")
    assert backends.n_threads(*hooked, n_images=1000, n_jobs=16) == torch.get_num_threads()


def test_reproducible_rows_are_torchs_unless_openvino_is_named() -> None:
    network = CNNFeatures("squeezenet1_0", weights="random", reproducible=True, device="cpu")
    taps = list(network._taps(network.layers).values())
    assert network._choose_backend(taps, 10**9, 1) == "torch"
    assert network.settings()["reproducible"] == [8, "cpu"]
    other = network.set_params(backend="openvino")
    assert other.settings()["reproducible"] == [8, "cpu", "openvino"]


def test_shards_record_what_computed_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[str] = []

    def spy(*arguments: Any) -> Any:
        recorded.append(arguments[-2]["backend"])
        return write_shard(*arguments)

    monkeypatch.setattr(chunks, "write_shard", spy)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    network = CNNFeatures("alexnet", "pool1", weights="random", size=64, store=tmp_path / "store")
    network.set_params(device="cpu").fit_transform(images)
    assert set(recorded) == {"torch"}
