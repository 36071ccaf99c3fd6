"""A network made ready: built, its weights in, in-place steps off, its layers tapped.

What is made is kept for the process, so that an estimator stays small and picklable.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from featx._imports import skip_initialization
from featx.data.reading import N_RGB
from featx.errors import ModelError, one_line
from featx.networks.completeness import check_complete, needed_tensors
from featx.networks.devices import check_precision, find_device
from featx.networks.hooks import HookedNetwork
from featx.networks.input_bands import adapt_first_convolution
from featx.networks.layers import Layer, LayerTable
from featx.networks.module_state import copy_module
from featx.networks.network_errors import explain, name_network
from featx.networks.pooling import Tap
from featx.networks.preprocessing import Preprocessing
from featx.networks.sources.base import RANDOM_SEED, Source, Weights
from featx.networks.sources.local import ModuleSource
from featx.networks.tapping import Traced
from featx.networks.tracing import record
from featx.networks.weights import LoadReport, fit_state
from featx.process.phases import phase

if TYPE_CHECKING:
    from featx.networks.openvino_backend import CompiledNetwork

logger = logging.getLogger(__name__)

_N_NETWORKS_KEPT = 2
_N_TABLES_KEPT = 64
_MAX_RUN = 100_000_000 * 224 * 224
"""Parameters times pixels up to which a network is run to see its layers. Of a larger one only
the shapes are followed: without time or memory, but for torch's compiler, whose import takes a
second."""

_MAX_COMPARED = 5_000_000_000
"""Multiply-adds up to which a graph is compared with its network at full size: .2 s of a core.
Beyond it half the size will do, where the network takes that, else one image in place of two."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class NetworkConfig:
    """Which network, with which weights, run how.

    Parameters
    ----------
    source : Source
    weights : Weights
    preprocessing : Preprocessing
    load : str, optional
        Pattern of the only tensors to take from the weights.
    device : str, default="auto"
    precision : str, default="fp32"
    tap : {"auto", "graph", "hooks"}, default="auto"
    n_bands : int, default=3
        Channels of the images, to which the first convolution is adapted.
    """

    source: Source = field(compare=False)
    weights: Weights = field(compare=False)
    preprocessing: Preprocessing
    load: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    tap: str = "auto"
    n_bands: int = N_RGB

    @property
    def key(self) -> tuple[Any, ...]:
        """What the network made depends on."""
        return (
            self.source.identity,
            self.weights.digest,
            self.preprocessing,
            self.load,
            str(find_device(self.device)),
            self.precision,
            self.tap,
            self.n_bands,
        )

    @property
    def table(self) -> LayerTable:
        """Layers of the network, seen in a run, or on a copy without values if it is large."""
        crop = self.preprocessing.crop
        key = (self.source.identity, crop, str(self.weights.options), self.n_bands)
        return _TABLES.get(key, self._record)

    def network(self) -> Network:
        """The network made ready, from the process's cache where it is there."""
        return _NETWORKS.get(self.key, lambda: Network(self))

    @phase("trace network")
    def _record(self) -> LayerTable:
        skeleton = _skeleton(self.source, self.weights)
        n_values = sum(parameter.numel() for parameter in skeleton.parameters())
        if n_values * math.prod(self.preprocessing.crop) > _MAX_RUN:
            try:
                return self._recorded(skeleton)
            except ModelError as error:
                if not _lacks_values(error.__cause__):
                    raise
        return self._recorded(self._filled())

    def _filled(self) -> nn.Module:
        any_values = replace(self.weights, name="")  # Nothing random is drawn for the shapes.
        return _build(self.source, any_values, skip=True)

    def _recorded(self, module: nn.Module) -> LayerTable:
        switch_off_in_place(module)
        adapt_first_convolution(module, self.n_bands, self.source.name)
        return record_layers(self.source.name, module, self.preprocessing.crop)


def record_layers(model: str, module: nn.Module, size: tuple[int, int]) -> LayerTable:
    """Layers of a module, seen in a run on images of a size.

    Parameters
    ----------
    model : str
        The network's name.
    module : torch.nn.Module
    size : tuple of int
        Height and width.

    Raises
    ------
    ModelError
        If it does not run on images of that size.
    """
    with name_network(model, f"does not take images of {size[0]}x{size[1]} px", module):
        return LayerTable(model, record(module, size))


class Network:
    """A network in eval mode with its weights, whose layers can be tapped.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    report : LoadReport
        What became of each tensor of the weights.
    n_passes : int
        Forward passes so far.
    """

    @phase("load network")
    def __init__(self, plan: NetworkConfig) -> None:
        check_precision(plan.precision, plan.device)
        self.plan = plan
        self.device = find_device(plan.device)
        self.dtype = _DTYPES[plan.precision]
        module = _build(plan.source, plan.weights, skip=plan.weights.read and not plan.load)
        self.report = LoadReport()
        if plan.weights.read is not None:
            self.report = fit_state(module, plan.weights.read(), load=plan.load)
            names = plan.weights.name, plan.source.name
            logger.info("%s into %s: %s", *names, self.report)
            if self.report.skipped and not plan.load:
                logger.info("%s, left over: %s", names[0], ", ".join(self.report.skipped))
        adapt_first_convolution(module, plan.n_bands, plan.source.name)
        switch_off_in_place(module)
        with name_network(plan.source.name, f"cannot be moved to {self.device}"):
            module = module.eval().requires_grad_(False).to(self.device)
            self.module = module.to(memory_format=torch.channels_last)
        _cast_weights(self.module, self.dtype)
        self.n_passes = 0
        self._runners: dict[tuple[tuple[str, str, str], ...], Callable[[Tensor], Any]] = {}
        self._traced: Traced | None = None
        self._compiled: dict[tuple[Any, ...], CompiledNetwork | None] = {}
        self._n_weights: dict[str, int] = {}
        self._lock = threading.RLock()

    def rows(self, batch: Tensor, taps: Sequence[Tap]) -> tuple[Tensor, ...]:
        """Rows ``(n, d)`` of each tap, from one pass that stops after the deepest.

        Parameters
        ----------
        batch : Tensor of shape (n, 3, h, w), uint8 or float32
        taps : sequence of Tap
            Each layer once.
        """
        runner = self.runner(taps)
        # Called, a graph prints an error of its own before it raises it.
        run = runner.forward if isinstance(runner, fx.GraphModule) else runner
        self.n_passes += 1
        with (
            name_network(self.plan.source.name, "does not run", self.module),
            torch.inference_mode(),
            _exact(self.device),
            self._autocast(),
        ):
            rows = tuple(run(self.normalize(batch)))
        for tap, values in zip(taps, rows):
            if values.shape != (len(batch), tap.width):
                raise ModelError(
                    f"{tap.layer.node!r} of {self.plan.source.name} is no layer: {len(batch)} "
                    f"images give {tuple(values.shape)}; expected {len(batch)} rows of {tap.width}."
                )
        return rows

    def compiled(
        self, taps: Sequence[Tap], precision: str, pixels: npt.NDArray[Any]
    ) -> CompiledNetwork | None:
        """The network in OpenVINO, from pixels to rows; None, with a note, where that fails.

        Parameters
        ----------
        taps : sequence of Tap
        precision : {"fp32", "bf16", "fp16"}
        pixels : ndarray of shape (n, h, w, 3), uint8 or float32
            A first batch, on which it is checked; later ones are of its type.
        """
        from featx.networks.openvino_backend import compile_network

        key = (precision, pixels.dtype.str, *_key(taps))
        with self._lock:
            if key not in self._compiled:
                self.runner(taps)  # Raises if weights are lacking, whatever computes.
                try:
                    self._compiled[key] = compile_network(self, taps, precision, pixels)
                except ModelError as error:
                    name = self.plan.source.name
                    logger.warning("OpenVINO does not run %s (%s); torch does.", name, error)
                    self._compiled[key] = None
            return self._compiled[key]

    def has_refused(self, taps: Sequence[Tap], precision: str) -> bool:
        """Whether OpenVINO was tried and does not run the network."""
        return any(
            compiled is None
            for key, compiled in self._compiled.items()
            if (key[0], *key[2:]) == (precision, *_key(taps))
        )

    def release(self, taps: Sequence[Tap], precision: str) -> None:
        """Let go of the images and rows that OpenVINO saw last."""
        for key, compiled in list(self._compiled.items()):
            if compiled is not None and (key[0], *key[2:]) == (precision, *_key(taps)):
                compiled.release()

    def n_weights(self, layer: Layer) -> int:
        """Values of all parameters and buffers up to a layer."""
        if layer.node not in self._n_weights:
            entered = self.plan.table.recording.entered
            state = self.module.state_dict()
            needed = needed_tensors(self.module, entered, layer.index)
            self._n_weights[layer.node] = sum(state[name].numel() for name in needed)
        return self._n_weights[layer.node]

    def normalize(self, batch: Tensor) -> Tensor:
        """Pixels 0 to 255, in 8 bits or float32, as the network expects them."""
        mean = torch.tensor(self.plan.preprocessing.mean, device=self.device)[:, None, None]
        std = torch.tensor(self.plan.preprocessing.std, device=self.device)[:, None, None]
        # As bytes first: torch would convert on the processor, and send four times as much.
        on_device = batch.to(self.device)
        maps = on_device.to(
            torch.float32,
            memory_format=torch.channels_last,
            copy=batch.dtype == torch.float32,  # What follows is done in place.
        )
        return maps.mul_(1 / (255 * std)).sub_(mean / std)

    def runner(self, taps: Sequence[Tap]) -> Callable[[Tensor], Any]:
        """What runs the network up to the deepest of `taps`: a cut graph, or hooks.

        Raises
        ------
        WeightsError
            If a tensor up to there was not loaded.
        """
        key = _key(taps)
        with self._lock:
            if key not in self._runners:
                deepest = max(taps, key=lambda tap: tap.layer.index)
                self._check_weights(deepest)
                self._runners[key] = self._tapped(taps)
            return self._runners[key]

    def _autocast(self) -> torch.autocast:
        is_half = self.dtype != torch.float32
        dtype = self.dtype if is_half else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=is_half)

    def _check_weights(self, deepest: Tap) -> None:
        if self.plan.weights.read is None or self.plan.load:
            return
        entered = self.plan.table.recording.entered
        layer = deepest.layer.alias or deepest.layer.node
        check_complete(
            self.report,
            self.module,
            entered,
            deepest.layer.index,
            weights=self.plan.weights.name,
            model=self.plan.source.name,
            layer=layer,
        )

    def _tapped(self, taps: Sequence[Tap]) -> Callable[[Tensor], Any]:
        if self.plan.tap == "hooks":
            return HookedNetwork(self.module, taps)
        try:
            with self._autocast(), _exact(self.device):
                return self._cut(taps)
        except Exception as error:  # torch.fx fails in as many ways as networks are written.
            reason = one_line(error) if isinstance(error, ModelError) else explain(error)
            if self.plan.tap == "graph":
                raise ModelError(
                    f"{self.plan.source.name} cannot be traced to a graph with these layers "
                    f"({reason}); use tap='hooks'."
                ) from error
            logger.info("%s is tapped by hooks (%s)", self.plan.source.name, reason)
            return HookedNetwork(self.module, taps)

    @phase("trace network")
    def _cut(self, taps: Sequence[Tap]) -> nn.Module:
        """The network's graph cut after the deepest tap, and compared with the network."""
        if self._traced is None:
            self._traced = Traced(self.module, self.plan.preprocessing.crop)
        height, width = self.plan.preprocessing.crop
        if max(tap.layer.macs for tap in taps) > _MAX_COMPARED:
            try:
                return self._traced.cut(taps, (height // 2, width // 2))
            except Exception as error:  # A vision transformer takes one size alone.
                logger.debug("%s at half its size: %s", self.plan.source.name, one_line(error))
            return self._traced.cut(taps, n_images=1)
        return self._traced.cut(taps)


def _key(taps: Sequence[Tap]) -> tuple[tuple[str, str, str], ...]:
    return tuple((tap.layer.node, tap.pooling, tap.norm) for tap in taps)


def switch_off_in_place(module: nn.Module) -> None:
    """Make rectifiers and their like return a new tensor, so that a tap keeps what it saw."""
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]


def _cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Keep what is multiplied in half precision; autocast would cast it in every pass."""
    for part in module.modules():
        if dtype != torch.float32 and isinstance(part, nn.Linear | nn.modules.conv._ConvNd):
            part.to(dtype)


def _build(source: Source, weights: Weights, *, skip: Any = False) -> nn.Module:
    """The network; random where its weights are, the same in every process."""
    with name_network(source.name, "cannot be built"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        if skip:
            with skip_initialization():
                return source.build(weights).eval()
        return source.build(weights).eval()


def _skeleton(source: Source, weights: Weights) -> nn.Module:
    """The network without values, where its constructor allows that."""
    if isinstance(source, ModuleSource):
        return copy_module(source.module, on_meta=True)
    try:
        with torch.device("meta"), skip_initialization():
            return source.build(weights).eval()
    except Exception:  # A constructor may compute with values, in any way.
        return _build(source, weights, skip=True).to("meta")


def _lacks_values(error: BaseException | None) -> bool:
    """Whether a run failed for want of values: an operation needs them, or code looks at them."""
    is_ordinary = isinstance(error, RuntimeError | ValueError | AssertionError | TypeError)
    return isinstance(error, NotImplementedError) or not is_ordinary or "meta" in str(error)


class _exact:  # noqa: N801
    """float32 that is float32: an accelerator rounds convolutions to TF32 unless told."""

    def __init__(self, device: torch.device) -> None:
        self.is_cuda = device.type == "cuda"

    def __enter__(self) -> None:
        if self.is_cuda:
            self.before = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False

    def __exit__(self, *error: object) -> None:
        if self.is_cuda:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = self.before


class Cache:
    """The things made last, by what they were made from."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.items: OrderedDict[Any, Any] = OrderedDict()
        self.lock = threading.RLock()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was made for a key, made now where it is not there."""
        with self.lock:
            if key not in self.items:
                self.items[key] = make()
                while len(self.items) > self.length:
                    self.items.popitem(last=False)
            self.items.move_to_end(key)
            return self.items[key]

    def drop(self, key: Any) -> None:
        """Forget what was made for a key."""
        with self.lock:
            self.items.pop(key, None)


_NETWORKS = Cache(_N_NETWORKS_KEPT)
_TABLES = Cache(_N_TABLES_KEPT)
