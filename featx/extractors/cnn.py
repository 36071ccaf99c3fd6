"""Features of a frozen network: any number of layers from one forward pass."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval, StrOptions

from featx._linalg import rows_per_chunk
from featx.data.images import PIXELS_VERSION, Pixels
from featx.data.reading import make_reading
from featx.extractors.base import CommonParameters, Extractor
from featx.extractors.names import registered_name
from featx.streaming.rows import Matrix
from featx.trust.callables import Trust

if TYPE_CHECKING:
    from featx.networks.backends import WorkerThreads
    from featx.networks.layers import Layer
    from featx.networks.network import NetworkConfig
    from featx.networks.pooling import Tap

_FIXED_BATCH = 8
"""Default batch size if rows are to be reproducible."""

_MAX_BATCH = 64
"""Maximum batch size on a CPU core, and default batch size on an accelerator."""

_MIN_DECODED_RATIO = 2
"""Minimum side of a JPEG that is reduced while decoding, as a multiple of the resized side."""


class CNNFeatures(Extractor):
    """Activations of a frozen network at one or several layers.

    Parameters
    ----------
    model : str, path or torch.nn.Module, default="featxnet"
        ``featxnet`` (bundled), a torchvision name, ``timm/NAME``, ``package.module:callable``,
        a folder written by ``featx finetune``, or a module object, which featx copies.
    layer : str or list of str, default="-1"
        Nodes (``features.2``) or aliases (``pool1``, ``fc7``, ``-1``); see
        `featx.networks.configs.list_layers`. ``lastN`` concatenates the last N blocks of a vision
        transformer, each after the network's final norm, as in the linear evaluation of DINOv2.
        Several layers take one forward pass.
    weights : str or path, default="default"
        ``default`` (the published weights), a name such as ``IMAGENET1K_V1``, a file (``.pth``,
        ``.pt``, ``.th``, ``.safetensors``), or ``random``.
    load : str, optional
        Pattern of the tensors to load from `weights`, such as ``features.*``; all others stay
        random. By default the file must contain every tensor up to the deepest layer.
    pooling : str, default="auto"
        For feature maps ``flatten``, ``gap``, ``max``, ``gem`` or ``grid=N``; for tokens ``cls``,
        ``mean``, ``cls+mean`` or ``flatten``. ``auto`` is ``cls`` if there is a class token, else
        ``flatten``.
    size : int or tuple of int, optional
        Length in px to which an image's short side is resized, or its height and width; by
        default as the weights expect. Without `crop` it is also the crop.
    crop : int or tuple of int, optional
        Height and width of the center crop in px.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos"}, optional
    mean, std : tuple of float, optional
        Mean and standard deviation of each channel, for values from 0 to 1; by default as the
        weights expect.
    resize : {"pillow", "torch"}, default="pillow"
        Resize as torchvision does for PIL images, bit for bit, or as it does for uint8 tensors,
        which changes deep layers by up to 1 %.
    decode : {"full", "scaled"}, default="full"
        With ``scaled``, JPEGs of at least four times the input size are downscaled while they are
        decoded, to at least twice the input size: large photographs take a fraction of the time,
        and features change slightly.
    precision : {"fp32", "bf16", "fp16"}, default="fp32"
    device : str, default="auto"
        ``auto``, or a device of torch.
    backend : {"auto", "torch", "openvino"}, default="auto"
        What runs the network. ``auto`` is OpenVINO on x86 processors if the work outweighs the
        conversion (its first rows are compared with torch's), otherwise torch.
    batch_size : int, optional
        Images per forward pass; by default 1 to 64 on a CPU, depending on the network, and 64
        elsewhere.
    reproducible : bool, default=False
        Pad the last batch, use torch as the ``auto`` backend, and make batch size, device and
        backend part of the fingerprint: on one machine an image's row has the same bytes whatever
        the other images are. Otherwise rows agree within 1e-4.
    tap : {"auto", "graph", "hooks"}, default="auto"
        Cut the network's graph after the deepest layer or, if it cannot be traced, use forward
        hooks and stop there. The rows are the same.
    trust : path, str, or sequence of these, optional
        Folders whose ``model.json`` may name code (``package.module:callable``) to import and
        call, or callables that any folder may name. By default only `model` itself may.
    image_shape, value_range, window, pages, bands, max_pixels, on_error, n_jobs, store
        As in `featx.extractors.base.Extractor`.

    Attributes
    ----------
    n_features_in_ : int
        Length of a flattened image; set only when `fit` got a 2-D array.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    LayerError
        If a layer is not in the network.
    ModelError
        If the network is unknown, its weights are missing or do not fit, or its folder names code
        that is not trusted.

    References
    ----------
    .. [1] Donahue et al., "DeCAF: A Deep Convolutional Activation Feature for Generic Visual
       Recognition", ICML 2014.
    .. [2] Razavian et al., "CNN Features off-the-shelf: an Astounding Baseline for
       Recognition", CVPR Workshops 2014.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((2, 8, 8, 3), np.uint8)
    >>> CNNFeatures("alexnet", "pool1", weights="random", size=64).fit_transform(images).shape
    (2, 3136)
    """

    spec_name: ClassVar[str] = "cnn"
    positional: ClassVar[tuple[str, ...]] = ("model", "layer")
    runs_in_parent: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Extractor._parameter_constraints,
        "model": "no_validation",  # type: ignore[dict-item]
        "layer": [str, numbers.Integral, list, tuple],
        "weights": [str, os.PathLike],
        "load": [str, None],
        "pooling": [str],
        "size": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list, None],
        "crop": [Interval(numbers.Integral, 1, None, closed="left"), tuple, list, None],
        "interpolation": [StrOptions({"nearest", "bilinear", "bicubic", "lanczos"}), None],
        "mean": [tuple, list, None],
        "std": [tuple, list, None],
        "resize": [StrOptions({"torch", "pillow"})],
        "decode": [StrOptions({"full", "scaled"})],
        "precision": [StrOptions({"fp32", "bf16", "fp16"})],
        "device": [str],
        "backend": [StrOptions({"auto", "torch", "openvino"})],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "reproducible": ["boolean"],
        "tap": [StrOptions({"auto", "graph", "hooks"})],
        "trust": [str, os.PathLike, list, tuple, None],
    }

    def __init__(
        self,
        model: Any = "featxnet",
        layer: str | Sequence[str] = "-1",
        *,
        weights: str | os.PathLike[str] = "default",
        load: str | None = None,
        pooling: str = "auto",
        size: int | tuple[int, int] | None = None,
        crop: int | tuple[int, int] | None = None,
        interpolation: str | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        resize: str = "pillow",
        decode: str = "full",
        precision: str = "fp32",
        device: str = "auto",
        backend: str = "auto",
        batch_size: int | None = None,
        reproducible: bool = False,
        tap: str = "auto",
        trust: Trust = None,
        **common: Unpack[CommonParameters],
    ) -> None:
        super().__init__(**common)
        self.model = model
        self.layer = layer
        self.weights = weights
        self.load = load
        self.pooling = pooling
        self.size = size
        self.crop = crop
        self.interpolation = interpolation
        self.mean = mean
        self.std = std
        self.resize = resize
        self.decode = decode
        self.precision = precision
        self.device = device
        self.backend = backend
        self.batch_size = batch_size
        self.reproducible = reproducible
        self.tap = tap
        self.trust = trust

    @property
    def layers(self) -> list[str]:
        """Names of the requested layers, without duplicates."""
        names = [self.layer] if isinstance(self.layer, str | numbers.Integral) else self.layer
        return list(dict.fromkeys(map(str, names)))

    @property
    def n_bands(self) -> int:  # type: ignore[override]
        """Number of input channels; the first convolution is adapted if there are not three."""
        return make_reading(bands=self.bands).n_bands

    @property
    def least_px(self) -> int | None:  # type: ignore[override]
        """Minimum short side to which a JPEG may be reduced while decoding; None: full size."""
        if self.decode == "full":
            return None
        resize = self._config(is_checked=False).preprocessing.resize
        return _MIN_DECODED_RATIO * (resize if isinstance(resize, int) else max(resize))

    @property
    def _contract(self) -> str:
        return "exact" if self.decode == "full" else f"scaled to {self.least_px} px or more"

    @property
    def batch_length(self) -> int:  # type: ignore[override]
        """Images extracted and stored at a time: full batches with at most 32 MiB of rows."""
        n_features = sum(map(self.n_features, self.layers))
        max_length = min(_MAX_BATCH, rows_per_chunk(4 * n_features))
        batch_size = self._fixed_batch_size or 1
        return batch_size * max(1, max_length // batch_size)

    @property
    def has_worker_threads(self) -> bool:
        """Whether batches are computed in parallel, one per CPU core."""
        return self._device_type() == "cpu"

    @contextmanager
    def worker_threads(
        self, layers: Sequence[str], n_images: int, n_jobs: int
    ) -> Iterator[WorkerThreads]:
        """Context that extracts layers in `n_jobs` threads.

        Parameters
        ----------
        layers : sequence of str
            Layers to extract: those that the store does not have.
        n_images : int
            Total number of images to extract.
        n_jobs : int
        """
        from featx.networks.backends import (
            WorkerThreads,
            n_threads,
            release,
            used_backend,
        )

        config, taps = self._config(), list(self._taps(layers).values())
        backend = self._choose_backend(taps, n_images, n_jobs)
        extract = partial(self._extract_layers, backend=backend)
        backend_name = partial(used_backend, config, taps, backend)
        n = n_threads(config, taps, n_images, n_jobs) if backend == "torch" else 1
        try:
            with WorkerThreads(extract, backend_name, n) as threads:
                yield threads
        finally:
            release(config, taps, backend)

    def n_features(self, layer: str = "") -> int:
        """Return the number of columns of one layer or, without a name, of all."""
        if not layer:
            return sum(map(self.n_features, self.layers))
        return sum(tap.width for tap in self._taps_of(layer))

    def settings(self, layer: str = "") -> dict[str, Any]:
        """Return the input of a layer's fingerprint; it is the same for all names of the layer."""
        config = self._config()
        name = layer or self.layers[0]
        return {
            "extractor": registered_name(type(self)),
            "feature_version": self.feature_version,
            "pixels": {"version": PIXELS_VERSION, "contract": self._contract},
            "model": config.source.identity,
            "weights": config.weights.digest,
            "load": self.load,
            "preprocessing": config.preprocessing.settings(),
            "resize": self.resize,
            "layer": _describe(self._taps_of(name)),
            "pooling": self._taps_of(name)[0].pooling,
            "precision": self.precision,
            "reproducible": self.reproducible and self._byte_settings(),
        }

    @property
    def unstorable(self) -> str:
        """Reason why rows must not be stored: parts of a module object that cannot be read."""
        unseen = self._config(is_checked=False).source.unseen
        more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
        return f"{unseen[0]}{more} cannot be read" if unseen else ""

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names such as ``pool1_0``: the layer's name as requested, and the column."""
        return np.array(
            [f"{name}_{i}" for name in self.layers for i in range(self.n_features(name))],
            dtype=object,
        )

    @property
    def _n_features_out(self) -> int:
        return self.n_features()

    def _check_parameters(self) -> None:
        if not self.layers:
            raise ValueError("layer must name at least one layer; got an empty list.")
        if self.resize == "torch" and self.interpolation == "lanczos":
            raise ValueError("resize='torch' does not support lanczos; use resize='pillow'.")
        for name in self.layers:
            self._taps_of(name)

    def _prepare(self, pixels: Pixels) -> Pixels:
        preprocessing = self._config(is_checked=False).preprocessing
        return preprocessing.prepare(pixels, by_torch=self.resize == "torch")

    def _extract_layers(
        self, batch: Sequence[Pixels], layers: Sequence[str], *, backend: str | None = None
    ) -> dict[str, Matrix]:
        from featx.networks.backends import empty_rows, find_filler, pass_length

        config, taps_by_key = self._config(), self._taps(layers)
        taps = list(taps_by_key.values())
        backend = backend or self._choose_backend(taps, len(batch), 1)
        batch_size = self._fixed_batch_size or pass_length(config, taps, backend)
        n_padding = -len(batch) % batch_size if self.reproducible else 0
        images = [*batch, *[batch[-1]] * n_padding]
        outputs = empty_rows(len(images), taps)
        dtype = np.result_type(*{image.dtype for image in images})  # float32 if any of them is.
        first = np.stack(images[:batch_size], dtype=dtype)  # (n, h, w, 3)
        fill = find_filler(config, taps, backend, first, must_be=self.reproducible)
        for start in range(0, len(images), batch_size):
            stop = start + batch_size
            pixels = np.stack(images[start:stop], dtype=dtype) if start else first
            fill(pixels, [rows[start:stop] for rows in outputs])
        blocks = {key: rows[: len(batch)] for key, rows in zip(taps_by_key, outputs)}
        return {
            name: _concatenate([blocks[_key(tap)] for tap in self._taps_of(name)])
            for name in layers
        }

    def _choose_backend(self, taps: Sequence[Tap], n_images: int, n_jobs: int) -> str:
        from featx.networks.backends import choose_backend

        if self.reproducible and self.backend == "auto":
            return "torch"
        return choose_backend(self.backend, self._config(), taps, n_images, n_jobs)

    def _byte_settings(self) -> list[Any]:
        """Settings that affect the last bits of reproducible rows."""
        backend = [self.backend] if self.backend == "openvino" else []
        return [self._fixed_batch_size, self._device_type(), *backend]

    def _device_type(self) -> str:
        from featx.networks.devices import find_device

        return find_device(self.device).type

    @property
    def _fixed_batch_size(self) -> int | None:
        """Batch size; None if it depends on the network."""
        if self.batch_size or self.reproducible:
            return self.batch_size or _FIXED_BATCH
        return None if self.has_worker_threads else _MAX_BATCH

    def _config(self, *, is_checked: bool = True) -> NetworkConfig:
        """Configuration of the network; with `is_checked`, after a check that no file changed."""
        from featx.networks.configs import find_config

        parameters = self.get_params(deep=False)
        return find_config(
            is_checked=is_checked,
            n_bands=self.n_bands,
            **{name: parameters[name] for name in _CONFIG_PARAMETERS},
        )

    def _find(self, layer: str) -> Layer:
        return self._config(is_checked=False).table.find(layer)

    def _taps_of(self, name: str) -> list[Tap]:
        """Taps of a name: one layer, or for ``lastN`` several blocks."""
        from featx.networks.pooling import Tap, choose_pooling

        table = self._config(is_checked=False).table
        layers = table.parts(name)
        norm = table.final_norm() if table.is_joined(name) else None
        # The layer's index determines which weights are required: here those up to the norm.
        index = None if norm is None else table.find(norm.name).index
        return [
            Tap(
                layer if index is None else replace(layer, index=index),
                choose_pooling(self.pooling, layer),
                table.recording.nodes[layer.index].names,
                "" if norm is None else norm.names[0],
            )
            for layer in layers
        ]

    def _taps(self, layers: Sequence[str]) -> dict[tuple[str, str], Tap]:
        """Taps of several names, each only once even if a layer was requested by several names."""
        return {_key(tap): tap for name in layers for tap in self._taps_of(name)}


def _key(tap: Tap) -> tuple[str, str]:
    return tap.layer.node, tap.norm


def _describe(taps: Sequence[Tap]) -> str:
    """Node of a layer, or the nodes of several and the norm applied to them, for a fingerprint."""
    nodes = ", ".join(tap.layer.node for tap in taps)
    norm = taps[0].norm
    return f"{norm}({nodes})" if norm else nodes


def _concatenate(blocks: Sequence[Matrix]) -> Matrix:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


_CONFIG_PARAMETERS = (
    "model",
    "weights",
    "load",
    "size",
    "crop",
    "interpolation",
    "mean",
    "std",
    "device",
    "precision",
    "tap",
    "trust",
)
