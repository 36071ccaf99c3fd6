"""Build a network, load its weights, and run it up to the deepest requested layer.

Networks are cached per process rather than stored on estimators, which stay small and picklable.
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

_N_NETWORKS_CACHED = 2
_N_TABLES_CACHED = 64
_MAX_EXECUTED = 100_000_000 * 224 * 224
"""Parameters times pixels up to which a network is executed to record its layers.

Larger networks run on the meta device, which takes neither time nor memory, but imports torch's
compiler, which takes a second.
"""

_MAX_COMPARED_MACS = 5_000_000_000
"""Multiply-adds up to which a graph is compared with its network at full size (0.2 s on a core).

Beyond that it is compared at half the size or, if the network accepts only one size, on one image
instead of two.
"""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class NetworkConfig:
    """Configuration of a network: what to build, which weights to load, how to run it.

    Parameters
    ----------
    source : Source
    weights : Weights
    preprocessing : Preprocessing
    load : str, optional
        Pattern of the tensors to load; all others stay random.
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
        """Cache key of the built network."""
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
        """Layers of the network, recorded in one run (on the meta device if it is large)."""
        crop = self.preprocessing.crop
        key = (self.source.identity, crop, str(self.weights.options), self.n_bands)
        return _TABLES.get(key, self._find_layers)

    def network(self) -> Network:
        """The network with its weights, cached."""
        return _NETWORKS.get(self.key, lambda: Network(self))

    @phase("trace network")
    def _find_layers(self) -> LayerTable:
        skeleton = _build_on_meta(self.source, self.weights)
        n_parameters = sum(parameter.numel() for parameter in skeleton.parameters())
        if n_parameters * math.prod(self.preprocessing.crop) > _MAX_EXECUTED:
            try:
                return self._record(skeleton)
            except ModelError as error:
                if not _needs_values(error.__cause__):
                    raise
        # Shapes do not depend on values, so that none need be drawn, not even for random weights.
        unnamed = replace(self.weights, name="")
        return self._record(_build(self.source, unnamed, skip=True))

    def _record(self, module: nn.Module) -> LayerTable:
        switch_off_in_place(module)
        adapt_first_convolution(module, self.n_bands, self.source.name)
        return record_layers(self.source.name, module, self.preprocessing.crop)


def record_layers(model: str, module: nn.Module, size: tuple[int, int]) -> LayerTable:
    """Return the layers of a module, recorded in one run.

    Parameters
    ----------
    model : str
        Name of the network, for messages.
    module : torch.nn.Module
    size : tuple of int
        Height and width of the images in px.

    Raises
    ------
    ModelError
        If the module does not run on images of that size.
    """
    with name_network(model, f"does not take images of {size[0]}x{size[1]} px", module):
        return LayerTable(model, record(module, size))


class Network:
    """A network in eval mode, with its weights, that returns the features of any of its layers.

    Parameters
    ----------
    config : NetworkConfig

    Attributes
    ----------
    report : LoadReport
        Which tensors of the weights were loaded.
    n_passes : int
        Number of forward passes so far.
    """

    @phase("load network")
    def __init__(self, config: NetworkConfig) -> None:
        check_precision(config.precision, config.device)
        self.config = config
        self.device = find_device(config.device)
        self.dtype = _DTYPES[config.precision]
        module = _build(config.source, config.weights, skip=config.weights.read and not config.load)
        self.report = LoadReport()
        if config.weights.read is not None:
            self.report = fit_state(module, config.weights.read(), load=config.load)
            names = config.weights.name, config.source.name
            logger.info("%s into %s: %s", *names, self.report)
            if self.report.skipped and not config.load:
                logger.info("%s, not loaded: %s", names[0], ", ".join(self.report.skipped))
        adapt_first_convolution(module, config.n_bands, config.source.name)
        switch_off_in_place(module)
        with name_network(config.source.name, f"cannot be moved to {self.device}"):
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
        """Return the rows ``(n, d)`` of each tap, from one forward pass up to the deepest.

        Parameters
        ----------
        batch : Tensor of shape (n, 3, h, w), uint8 or float32
            Pixels from 0 to 255.
        taps : sequence of Tap
            Each layer once.
        """
        runner = self.runner(taps)
        # Not by its __call__, which prints errors before it raises them.
        run = runner.forward if isinstance(runner, fx.GraphModule) else runner
        self.n_passes += 1
        with (
            name_network(self.config.source.name, "does not run", self.module),
            torch.inference_mode(),
            _exact(self.device),
            self._autocast(),
        ):
            rows = tuple(run(self.normalize(batch)))
        for tap, values in zip(taps, rows):
            if values.shape != (len(batch), tap.width):
                raise ModelError(
                    f"{tap.layer.node!r} of {self.config.source.name} cannot be used as a layer: "
                    f"expected {len(batch)} rows of {tap.width} for {len(batch)} images, got "
                    f"{tuple(values.shape)}."
                )
        return rows

    def compiled(
        self, taps: Sequence[Tap], precision: str, pixels: npt.NDArray[Any]
    ) -> CompiledNetwork | None:
        """Return the network compiled by OpenVINO; None, with a warning in the log, if that fails.

        Parameters
        ----------
        taps : sequence of Tap
        precision : {"fp32", "bf16", "fp16"}
        pixels : ndarray of shape (n, h, w, 3), uint8 or float32
            A first batch, on which its rows are compared with torch's. Later batches must have the
            same dtype.
        """
        from featx.networks.openvino_backend import compile_network

        key = (precision, pixels.dtype.str, *_key(taps))
        with self._lock:
            if key not in self._compiled:
                self.runner(taps)  # Raises if weights are missing.
                try:
                    self._compiled[key] = compile_network(self, taps, precision, pixels)
                except ModelError as error:
                    name = self.config.source.name
                    logger.warning("OpenVINO cannot run %s (%s); using torch.", name, error)
                    self._compiled[key] = None
            return self._compiled[key]

    def has_refused(self, taps: Sequence[Tap], precision: str) -> bool:
        """Whether compiling the network for OpenVINO was tried and failed."""
        return any(
            compiled is None
            for key, compiled in self._compiled.items()
            if (key[0], *key[2:]) == (precision, *_key(taps))
        )

    def release(self, taps: Sequence[Tap], precision: str) -> None:
        """Free the buffers in which OpenVINO holds its last images and rows."""
        for key, compiled in list(self._compiled.items()):
            if compiled is not None and (key[0], *key[2:]) == (precision, *_key(taps)):
                compiled.release()

    def n_weights(self, layer: Layer) -> int:
        """Return the number of values of all parameters and buffers up to a layer."""
        if layer.node not in self._n_weights:
            entered = self.config.table.recording.entered
            state = self.module.state_dict()
            needed = needed_tensors(self.module, entered, layer.index)
            self._n_weights[layer.node] = sum(state[name].numel() for name in needed)
        return self._n_weights[layer.node]

    def normalize(self, batch: Tensor) -> Tensor:
        """Return float32 images, on the device and normalized, of pixels from 0 to 255."""
        mean = torch.tensor(self.config.preprocessing.mean, device=self.device)[:, None, None]
        std = torch.tensor(self.config.preprocessing.std, device=self.device)[:, None, None]
        # Move bytes and convert them on the device: float32 would be four times as much to move.
        on_device = batch.to(self.device)
        images = on_device.to(
            torch.float32,
            memory_format=torch.channels_last,
            copy=batch.dtype == torch.float32,  # Normalized in place below.
        )
        return images.mul_(1 / (255 * std)).sub_(mean / std)

    def runner(self, taps: Sequence[Tap]) -> Callable[[Tensor], Any]:
        """Return a cut graph or hooks that run the network up to the deepest of `taps`.

        Raises
        ------
        WeightsError
            If the weights lack a tensor up to that layer.
        """
        key = _key(taps)
        with self._lock:
            if key not in self._runners:
                deepest = max(taps, key=lambda tap: tap.layer.index)
                self._check_weights(deepest)
                self._runners[key] = self._tap(taps)
            return self._runners[key]

    def _autocast(self) -> torch.autocast:
        is_half = self.dtype != torch.float32
        dtype = self.dtype if is_half else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=is_half)

    def _check_weights(self, deepest: Tap) -> None:
        if self.config.weights.read is None or self.config.load:
            return
        entered = self.config.table.recording.entered
        layer = deepest.layer.alias or deepest.layer.node
        check_complete(
            self.report,
            self.module,
            entered,
            deepest.layer.index,
            weights=self.config.weights.name,
            model=self.config.source.name,
            layer=layer,
        )

    def _tap(self, taps: Sequence[Tap]) -> Callable[[Tensor], Any]:
        if self.config.tap == "hooks":
            return HookedNetwork(self.module, taps)
        try:
            with self._autocast(), _exact(self.device):
                return self._cut(taps)
        except Exception as error:  # Tracing executes the network's code, which may raise anything.
            reason = one_line(error) if isinstance(error, ModelError) else explain(error)
            if self.config.tap == "graph":
                raise ModelError(
                    f"{self.config.source.name} cannot be traced to a graph with these layers "
                    f"({reason}); use tap='hooks'."
                ) from error
            logger.info("%s is tapped by hooks (%s)", self.config.source.name, reason)
            return HookedNetwork(self.module, taps)

    @phase("trace network")
    def _cut(self, taps: Sequence[Tap]) -> nn.Module:
        """The graph, cut after the deepest tap, once its tensors have been compared with hooks'."""
        if self._traced is None:
            self._traced = Traced(self.module, self.config.preprocessing.crop)
        height, width = self.config.preprocessing.crop
        if max(tap.layer.macs for tap in taps) > _MAX_COMPARED_MACS:
            try:
                return self._traced.cut(taps, (height // 2, width // 2))
            except Exception as error:  # Many vision transformers accept only one size.
                logger.debug("%s at half its size: %s", self.config.source.name, one_line(error))
            return self._traced.cut(taps, n_images=1)
        return self._traced.cut(taps)


def _key(taps: Sequence[Tap]) -> tuple[tuple[str, str, str], ...]:
    return tuple((tap.layer.node, tap.pooling, tap.norm) for tap in taps)


def switch_off_in_place(module: nn.Module) -> None:
    """Make activations return a new tensor, so that they do not overwrite a tapped layer."""
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]


def _cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of convolutions and linear layers once; autocast would in every pass."""
    for part in module.modules():
        if dtype != torch.float32 and isinstance(part, nn.Linear | nn.modules.conv._ConvNd):
            part.to(dtype)


def _build(source: Source, weights: Weights, *, skip: Any = False) -> nn.Module:
    """Build a network; random values are the same in every process."""
    with name_network(source.name, "cannot be built"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        if skip:
            with skip_initialization():
                return source.build(weights).eval()
        return source.build(weights).eval()


def _build_on_meta(source: Source, weights: Weights) -> nn.Module:
    """The network on the meta device, without values."""
    if isinstance(source, ModuleSource):
        return copy_module(source.module, on_meta=True)
    try:
        with torch.device("meta"), skip_initialization():
            return source.build(weights).eval()
    except Exception:  # A constructor may need values, and fail in any way without.
        return _build(source, weights, skip=True).to("meta")


def _needs_values(error: BaseException | None) -> bool:
    """Whether a run on the meta device failed because an operation or a branch needs values."""
    is_ordinary = isinstance(error, RuntimeError | ValueError | AssertionError | TypeError)
    return isinstance(error, NotImplementedError) or not is_ordinary or "meta" in str(error)


class _exact:  # noqa: N801
    """Context without TF32, to which CUDA may otherwise round float32."""

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
    """A thread-safe cache of the most recently used items."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.items: OrderedDict[Any, Any] = OrderedDict()
        self.lock = threading.RLock()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return the item of a key; if there is none, call `make` and cache its result."""
        with self.lock:
            if key not in self.items:
                self.items[key] = make()
                while len(self.items) > self.length:
                    self.items.popitem(last=False)
            self.items.move_to_end(key)
            return self.items[key]

    def drop(self, key: Any) -> None:
        """Remove the item of a key, if there is one."""
        with self.lock:
            self.items.pop(key, None)


_NETWORKS = Cache(_N_NETWORKS_CACHED)
_TABLES = Cache(_N_TABLES_CACHED)
