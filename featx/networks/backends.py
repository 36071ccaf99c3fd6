"""What computes a network's rows, and how much of the machine it takes at once."""

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
_CONVERSION_S_PER_STEP = 0.017
"""What a conversion takes, and every step of the network in it: 3 s for ResNet-50."""

_MACS_PER_SECOND = {"fp32": 1.1e11, "bf16": 3e11, "fp16": 3e11}
"""Multiply-adds for which a core needs a second more with torch than with OpenVINO."""

_CALL_MACS = {"torch": 4e8, "openvino": 1e8}
"""Multiply-adds of a pass beside which its calls cost little."""

_WEIGHT_MACS = 400
"""Multiply-adds that each weight must serve in a pass, or else fetching it takes longer."""

_MAX_PASS = 64

_FAST_MACHINES = ("x86_64", "AMD64")
"""Processors on which OpenVINO was found faster than torch."""


def choose_backend(
    backend: str, plan: NetworkConfig, taps: Sequence[Tap], n_images: int, n_jobs: int
) -> str:
    """``torch`` or ``openvino``, as asked for or by the amount of work.

    Parameters
    ----------
    backend : {"auto", "torch", "openvino"}
    plan : Plan
    taps : sequence of Tap
    n_images : int
        How many images are still to be done.
    n_jobs : int
        How many batches are computed at once.

    Raises
    ------
    ModelError
        If OpenVINO is wished for and is not there, the device is no processor, or the
        hardware only emulates the precision.
    """
    check_precision(plan.precision, plan.device)
    on_cpu = find_device(plan.device).type == "cpu"
    if backend == "openvino":
        if not has_openvino():
            raise ModelError("backend='openvino' needs OpenVINO; pip install 'featx[openvino]'.")
        if not on_cpu:
            raise ModelError(
                f"backend='openvino' runs on the processor; got device={plan.device!r}: "
                "use backend='torch' there, or device='cpu'."
            )
    if backend != "auto":
        return backend
    can_be_fast = on_cpu and platform.machine() in _FAST_MACHINES and plan.tap != "hooks"
    is_worth_it = n_images >= n_jobs * _images_worth(plan, taps)
    return "openvino" if can_be_fast and is_worth_it and has_openvino() else "torch"


def _images_worth(plan: NetworkConfig, taps: Sequence[Tap]) -> float:
    """Images of one core for which a conversion to OpenVINO has paid for itself."""
    deepest = _deepest(taps)
    seconds = _CONVERSION_S + _CONVERSION_S_PER_STEP * (deepest.index + 1)
    return seconds * _MACS_PER_SECOND[plan.precision] / max(deepest.macs, 1)


def find_filler(
    plan: NetworkConfig, taps: Sequence[Tap], backend: str, pixels: Array, *, must_be: bool = False
) -> Filler:
    """What computes the rows of a batch into arrays, by a back end.

    Parameters
    ----------
    plan : Plan
    taps : sequence of Tap
    backend : {"torch", "openvino"}
    pixels : ndarray of shape (n, h, w, 3), uint8
        A few images, on which OpenVINO is checked against torch.
    must_be : bool, default=False
        Whether torch may not do what OpenVINO cannot.

    Raises
    ------
    ModelError
        If OpenVINO must compute and cannot.
    """
    if backend == "openvino":
        compiled = _checker(plan).compiled(taps, plan.precision, pixels)
        if compiled is not None:
            return compiled.fill
        if must_be:
            raise ModelError(
                f"OpenVINO does not run {plan.source.name} as torch does, and reproducible rows "
                "are of one back end; use backend='torch'."
            )
    network = plan.network()

    def fill(pixels: Array, out: Sequence[Array]) -> None:
        rows = network.rows(torch.from_numpy(pixels).permute(0, 3, 1, 2), taps)
        for target, values in zip(out, rows):
            torch.from_numpy(target).copy_(values)

    return fill


def pass_length(plan: NetworkConfig, taps: Sequence[Tap], backend: str) -> int:
    """Images in one pass that are about the fastest on a processor's core: 1 to 64.

    Few, so that what they come to stays in its cache, but as many as it takes for the calls to
    cost little, and for the weights, which are many in dense layers, to be worth fetching.

    Parameters
    ----------
    plan : Plan
    taps : sequence of Tap
    backend : {"torch", "openvino"}
    """
    network = _checker(plan) if backend == "openvino" else plan.network()
    deepest = _deepest(taps)
    reuse = _WEIGHT_MACS if plan.precision == "fp32" else 2 * _WEIGHT_MACS
    macs = max(_CALL_MACS[backend], reuse * network.n_weights(deepest))
    return int(2 ** np.clip(np.rint(np.log2(macs / max(deepest.macs, 1))), 0, np.log2(_MAX_PASS)))


def empty_rows(n_images: int, taps: Sequence[Tap]) -> list[Array]:
    """Arrays for the rows of each tap."""
    return [np.empty((n_images, tap.width), np.float32) for tap in taps]


class WorkerThreads:
    """Some threads, each of which computes batches of its own with its share of the cores.

    Parameters
    ----------
    extract : callable
        Called in any of the threads with prepared images and the names of layers.
    backend : callable
        Name of what has computed so far.
    n_threads : int
        Threads that torch takes in each worker thread.
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
        """Be called by each of the threads first: torch has a number of threads for each."""
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
            # Any later thread begins with what a worker thread has set.
            if not WorkerThreads._n_open:
                torch.set_num_threads(WorkerThreads._n_before)


def n_threads(plan: NetworkConfig, taps: Sequence[Tap], n_images: int, n_jobs: int) -> int:
    """Threads that torch takes for each of `n_jobs` batches at once."""
    if isinstance(plan.network().runner(taps), HookedNetwork):
        return torch.get_num_threads()  # One batch at a time, whoever asks.
    return max(1, n_jobs // max(n_images, 1))


def release(plan: NetworkConfig, taps: Sequence[Tap], backend: str) -> None:
    """Let go of what a run has left in the back end."""
    if backend == "openvino":
        _checker(plan).release(taps, plan.precision)


def used_backend(plan: NetworkConfig, taps: Sequence[Tap], backend: str) -> str:
    """The back end that rows come from, once the first have come."""
    is_refused = backend == "openvino" and _checker(plan).has_refused(taps, plan.precision)
    return "torch" if is_refused else backend


def _checker(plan: NetworkConfig) -> Network:
    """The network in fp32, which is converted and which rows are checked against."""
    return replace(plan, precision="fp32").network()


def _deepest(taps: Sequence[Tap]) -> Layer:
    return max((tap.layer for tap in taps), key=lambda layer: layer.index)
