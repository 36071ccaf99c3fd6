"""Choose what runs a network (torch or OpenVINO), its batch size and its number of threads."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from featx._imports import has_openvino
from featx.errors import ModelError
from featx.networks.devices import check_precision, find_device
from featx.networks.hooks import HookedNetwork
from featx.networks.layers import Layer
from featx.networks.network import Network, NetworkConfig
from featx.networks.pooling import Tap

Array = npt.NDArray[Any]
Filler = Callable[[Array, Sequence[Array]], None]

_CONVERSION_S = 0.4
_CONVERSION_S_PER_NODE = 0.017
"""Seconds to convert a network to OpenVINO, constant and per node: 3 s for ResNet-50."""

_MACS_PER_SAVED_SECOND = {"fp32": 1.1e11, "bf16": 3e11, "fp16": 3e11}
"""Multiply-adds after which OpenVINO has saved one second on one core, compared with torch."""

_CALL_MACS = {"torch": 4e8, "openvino": 1e8}
"""Multiply-adds of a forward pass beyond which the overhead of its calls is negligible."""

_MACS_PER_WEIGHT = 400
"""Multiply-adds per weight and forward pass below which loading the weight dominates."""

_MAX_BATCH = 64

_FAST_MACHINES = ("x86_64", "AMD64")
"""Architectures on which OpenVINO is faster than torch."""


def choose_backend(
    backend: str, config: NetworkConfig, taps: Sequence[Tap], n_images: int, n_jobs: int
) -> str:
    """Return ``torch`` or ``openvino``: `backend` or, for ``auto``, the faster one.

    Parameters
    ----------
    backend : {"auto", "torch", "openvino"}
    config : NetworkConfig
    taps : sequence of Tap
    n_images : int
        Number of images left to extract.
    n_jobs : int
        Number of batches computed in parallel.

    Raises
    ------
    ModelError
        If OpenVINO is requested but not installed or the device is not the CPU, or if the
        hardware only emulates the precision.
    """
    check_precision(config.precision, config.device)
    on_cpu = find_device(config.device).type == "cpu"
    if backend == "openvino":
        if not has_openvino():
            raise ModelError("backend='openvino' needs OpenVINO; pip install 'featx[openvino]'.")
        if not on_cpu:
            raise ModelError(
                f"backend='openvino' needs device='cpu'; got device={config.device!r}. "
                "Use device='cpu', or backend='torch'."
            )
    if backend != "auto":
        return backend
    can_be_fast = on_cpu and platform.machine() in _FAST_MACHINES and config.tap != "hooks"
    is_worth_it = n_images >= n_jobs * _break_even_images(config, taps)
    return "openvino" if can_be_fast and is_worth_it and has_openvino() else "torch"


def _break_even_images(config: NetworkConfig, taps: Sequence[Tap]) -> float:
    """Number of images per core from which on the conversion to OpenVINO pays off."""
    deepest = _deepest(taps)
    seconds = _CONVERSION_S + _CONVERSION_S_PER_NODE * (deepest.index + 1)
    return seconds * _MACS_PER_SAVED_SECOND[config.precision] / max(deepest.macs, 1)


def find_filler(
    config: NetworkConfig,
    taps: Sequence[Tap],
    backend: str,
    pixels: Array,
    *,
    must_be: bool = False,
) -> Filler:
    """Return a function that writes the rows of a batch into one array per tap.

    Parameters
    ----------
    config : NetworkConfig
    taps : sequence of Tap
    backend : {"torch", "openvino"}
    pixels : ndarray of shape (n, h, w, 3), uint8
        A first batch, on which OpenVINO's rows are compared with torch's.
    must_be : bool, default=False
        Whether to raise, instead of using torch, if OpenVINO cannot run the network.

    Raises
    ------
    ModelError
        If OpenVINO cannot run the network and `must_be` is set.
    """
    if backend == "openvino":
        compiled = _fp32_network(config).compiled(taps, config.precision, pixels)
        if compiled is not None:
            return compiled.fill
        if must_be:
            raise ModelError(
                f"OpenVINO cannot run {config.source.name} with torch's results, and reproducible "
                "rows must not change backend; use backend='torch'."
            )
    network = config.network()

    def fill(pixels: Array, out: Sequence[Array]) -> None:
        rows = network.rows(torch.from_numpy(pixels).permute(0, 3, 1, 2), taps)
        for target, values in zip(out, rows):
            torch.from_numpy(target).copy_(values)

    return fill


def pass_length(config: NetworkConfig, taps: Sequence[Tap], backend: str) -> int:
    """Return the batch size, 1 to 64, that is about the fastest on one CPU core.

    Small batches keep the activations in the core's cache. The batch must be large enough, though,
    that the overhead of calls and of loading the weights (many in dense layers) is negligible.

    Parameters
    ----------
    config : NetworkConfig
    taps : sequence of Tap
    backend : {"torch", "openvino"}
    """
    network = _fp32_network(config) if backend == "openvino" else config.network()
    deepest = _deepest(taps)
    reuse = _MACS_PER_WEIGHT if config.precision == "fp32" else 2 * _MACS_PER_WEIGHT
    macs = max(_CALL_MACS[backend], reuse * network.n_weights(deepest))
    exponent = np.rint(np.log2(macs / max(deepest.macs, 1)))
    return int(2 ** np.clip(exponent, 0, np.log2(_MAX_BATCH)))


def empty_rows(n_images: int, taps: Sequence[Tap]) -> list[Array]:
    """Return one uninitialized array ``(n_images, d)`` per tap."""
    return [np.empty((n_images, tap.width), np.float32) for tap in taps]


class WorkerThreads:
    """Context for threads that each compute their own batches with a share of the cores.

    Parameters
    ----------
    extract : callable
        Called in any of the threads with prepared images and the names of layers.
    backend : callable
        Returns the name of the backend that has computed the rows so far.
    n_threads : int
        Number of torch threads per worker thread.
    """

    _lock = threading.Lock()
    _n_open = 0
    _n_before = 0

    def __init__(
        self, extract: Callable[..., Any], backend: Callable[[], str], n_threads: int
    ) -> None:
        self.extract = extract
        self.backend = backend
        self.n_threads = n_threads

    def begin(self) -> None:
        """Call first in each worker thread: torch's number of threads is set per thread."""
        torch.set_num_threads(self.n_threads)

    def __enter__(self) -> WorkerThreads:
        with WorkerThreads._lock:
            if not WorkerThreads._n_open:
                WorkerThreads._n_before = torch.get_num_threads()
            WorkerThreads._n_open += 1
        return self

    def __exit__(self, *error: object) -> None:
        with WorkerThreads._lock:
            WorkerThreads._n_open -= 1
            # Threads started later would inherit what a worker thread has set.
            if not WorkerThreads._n_open:
                torch.set_num_threads(WorkerThreads._n_before)


def n_threads(config: NetworkConfig, taps: Sequence[Tap], n_images: int, n_jobs: int) -> int:
    """Return the number of torch threads per batch if `n_jobs` batches run in parallel."""
    if isinstance(config.network().runner(taps), HookedNetwork):
        return torch.get_num_threads()  # Hooks allow one batch at a time: give it all cores.
    return max(1, n_jobs // max(n_images, 1))


def release(config: NetworkConfig, taps: Sequence[Tap], backend: str) -> None:
    """Free the buffers that a run has left in the backend."""
    if backend == "openvino":
        _fp32_network(config).release(taps, config.precision)


def used_backend(config: NetworkConfig, taps: Sequence[Tap], backend: str) -> str:
    """Return the backend that actually computed the rows: torch if OpenVINO failed."""
    has_failed = backend == "openvino" and _fp32_network(config).has_refused(taps, config.precision)
    return "torch" if has_failed else backend


def _fp32_network(config: NetworkConfig) -> Network:
    """The network that OpenVINO converts, and with which its rows are compared."""
    return replace(config, precision="fp32").network()


def _deepest(taps: Sequence[Tap]) -> Layer:
    return max((tap.layer for tap in taps), key=lambda layer: layer.index)
