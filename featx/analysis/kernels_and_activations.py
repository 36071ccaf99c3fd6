"""What the layers of a network see: its first kernels, and the images that activate a channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.analysis.embedding import find_distinct
from featx.data.datasets import ImageDataset
from featx.data.images import Pixels, round_pixels
from featx.engine.extraction import extract
from featx.engine.session import open_session
from featx.engine.specs import make_extractor, spec_of
from featx.errors import ProjectionError
from featx.features.feature_set import FeatureSet
from featx.features.results import Result
from featx.networks.layers import CONVOLUTIONS, Layer
from featx.networks.network_errors import name_network
from featx.streaming.progress import ProgressCallback
from featx.trust.callables import Trust

if TYPE_CHECKING:
    from featx.networks.network import NetworkConfig
    from featx.networks.receptive_fields import Field

N_IMAGES = 9
N_CHANNELS = 8


def read_kernels(
    model: Any = "featxnet", *, weights: Any = "default", trust: Trust = None
) -> npt.NDArray[np.float32]:
    """Kernels of a network's first convolution, as images.

    Parameters
    ----------
    model : str, path or torch.nn.Module, default="featxnet"
    weights : str or path, default="default"
    trust : path, str, or sequence of these, optional
        As in `featx.extractors.cnn.CNNFeatures`.

    Returns
    -------
    array of shape (n_kernels, height, width, 3), float32, 0 to 1
        Each scaled by its own largest weight; 0.5 is a weight of zero.

    Raises
    ------
    ProjectionError
        If the network does not begin with a convolution of color or gray images.

    Examples
    --------
    >>> read_kernels("featxnet").shape
    (32, 5, 5, 3)
    """
    from featx.networks.configs import find_config

    plan = find_config(model, weights=weights, trust=trust)
    first = next((layer for layer in plan.table if layer.kind in CONVOLUTIONS), None)
    module: Any = None if first is None else _module(plan, first)
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 4 or weight.shape[1] not in (1, 3):
        raise ProjectionError(
            f"{plan.source.name} does not begin with a convolution of images; its first layer is "
            f"{plan.table[0].node!r} ({plan.table[0].kind})."
        )
    kernels = weight.detach().float().cpu().numpy().transpose(0, 2, 3, 1)  # (n, h, w, c)
    kernels = np.broadcast_to(kernels, (*kernels.shape[:3], 3))
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(kernels, 2 * largest, out=np.zeros(kernels.shape), where=largest > 0)
    return np.asarray(0.5 + scaled, np.float32)


@dataclass(frozen=True, eq=False)
class ActivatingImages:
    """An image that activates a channel.

    Attributes
    ----------
    path, label : str
        The label is empty where it is not known.
    activation : float
        The channel's largest in this image.
    box : tuple of slice
        Rows and columns of the resized image that this activation depends on.
    crop : array of shape (height, width, 3), uint8
        The pixels there.
    """

    path: str
    label: str
    activation: float
    box: tuple[slice, slice]
    crop: Pixels


def find_activating_images(
    data: Any,
    model: Any = "featxnet",
    layer: str | None = None,
    *,
    channels: Sequence[int] | None = None,
    n_channels: int = N_CHANNELS,
    n_images: int = N_IMAGES,
    weights: Any = "default",
    domains: Any = None,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> tuple[Result, dict[int, list[ActivatingImages]]]:
    """Images that activate channels of a layer most, cut to what the channel saw of them.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
    model : str, path or torch.nn.Module, default="featxnet"
    layer : str, optional
        By default the deepest that gives maps.
    channels : sequence of int, optional
        By default those that stand out most: whose `n_images` highest activations are the
        most standard deviations above the mean.
    n_channels : int, default=8
        How many, where they are not named.
    n_images : int, default=9
    weights : str or path, default="default"
    domains, store, progress
        As in `featx.extract`.
    **parameters
        Passed to the network.

    Returns
    -------
    result : Result
        A row for each channel: how far it stands out, the size of its receptive field, the
        commonest class among its images.
    activating : dict of int to list of ActivatingImages
        Channel -> its images, the strongest activation first.

    Raises
    ------
    ProjectionError
        If there is no such channel.
    LayerError
        If there is no such layer.

    Notes
    -----
    As in [1]_, figure 2, without the deconvolution: images are resized and cropped as the
    network takes them, and cut to the exact receptive field of the position of the activation.

    References
    ----------
    .. [1] Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.

    Examples
    --------
    >>> from featx import load_dataset
    >>> digits = load_dataset("digits").take(range(40))
    >>> result, activating = find_activating_images(digits, layer="pool1", channels=[3], store=None)
    >>> len(activating[3]), activating[3][0].crop.shape, result.rows[0]["field_px"]
    (9, (8, 9, 3), [9, 9])
    """
    dataset, cache, progress, parameters = open_session(
        data, domains=domains, store=store, progress=progress, **parameters
    )
    network = {"model": model, "weights": weights, **parameters}
    extractor = make_extractor("cnn", layer=layer or _deepest(network), pooling="max", **network)
    name = extractor.layers[0]
    _check_channels(channels, extractor.n_features(name), name)
    features = extract(dataset, extractor, store=cache, progress=progress)
    X, distinct = np.asarray(features.X), find_distinct([features.X])[0]
    if channels is None:
        channels = _standing_out(X[distinct], n_images, n_channels)
    top = {int(c): _highest(X, distinct, c, n_images) for c in channels}
    activating, field_px = _cut(dataset, features, extractor, top)
    rows = [_row(features, extractor, channel, activating[channel], field_px) for channel in top]
    result = Result(
        command="filters",
        data=features.provenance["data"],
        rows=rows,
        sentences=[_sentence(row) for row in rows if _is_common(row)],
        failures=features.failures,
        provenance=features.provenance,
    )
    return result, activating


def _deepest(network: dict[str, Any]) -> str:
    """The last named layer whose feature maps have more than one position."""
    table = make_extractor("cnn", **network)._config().table
    maps = [layer for layer in table if layer.axes == "chw" and layer.shape[1] > 1 and layer.alias]
    if not maps:
        return "-1"
    return maps[-1].alias


def _check_channels(channels: Sequence[int] | None, n_there: int, layer: str) -> None:
    for channel in channels or ():
        if not 0 <= channel < n_there:
            raise ProjectionError(
                f"Layer {layer!r} has channels 0 to {n_there - 1}; got {channel}."
            )


def _highest(
    X: npt.NDArray[Any], distinct: npt.NDArray[np.intp], channel: int, n_wanted: int
) -> list[int]:
    """Rows highest in a column, each content once."""
    order = np.argsort(-X[distinct, channel], kind="stable")[:n_wanted]
    return [int(row) for row in distinct[order]]


def _standing_out(X: npt.NDArray[Any], n_images: int, n_wanted: int) -> list[int]:
    scores = _scores(X, n_images)
    return sorted(int(channel) for channel in np.argsort(-scores, kind="stable")[:n_wanted])


def _scores(X: npt.NDArray[Any], n_images: int) -> npt.NDArray[np.float64]:
    """How many standard deviations the highest values of each column are above its mean."""
    values = np.asarray(X, np.float64)
    highest = np.sort(values, axis=0)[-n_images:].mean(axis=0)
    spread = values.std(axis=0)
    return np.divide(highest - values.mean(axis=0), spread, out=np.zeros_like(spread),
                     where=spread > 0)  # fmt: skip


def _cut(
    dataset: ImageDataset, features: FeatureSet, extractor: Any, top: dict[int, list[int]]
) -> tuple[dict[int, list[ActivatingImages]], list[int]]:
    """The images of each channel, cut to what it saw; the size of its receptive field."""
    indices = {name: index for index, name in enumerate(dataset.names)}
    wanted = sorted({row for rows in top.values() for row in rows})
    images = dataset.images.take([indices[str(features.paths[row])] for row in wanted])
    prepared = [extractor._prepare(images.pixels(i)) for i in range(len(images))]
    peaks = _Peaks(extractor, images)
    activating: dict[int, list[ActivatingImages]] = {}
    for channel, rows in top.items():
        activating[channel] = []
        for row in rows:
            i = wanted.index(row)
            box = peaks.box(i, channel)
            activating[channel].append(
                ActivatingImages(
                    path=str(features.paths[row]),
                    label="" if features.labels is None else str(features.labels[row]),
                    activation=float(features.X[row, channel]),
                    box=box,
                    crop=round_pixels(prepared[i][box]),
                )
            )
    return activating, peaks.field_px


class _Peaks:
    """Position in each image at which each channel is highest, and its receptive field."""

    def __init__(self, extractor: Any, images: Any) -> None:
        from featx.networks.receptive_fields import receptive_field

        plan = extractor._config()
        self.layer = extractor._find(extractor.layers[0])
        self.size = plan.preprocessing.crop
        self.field_px = list(self.size)
        self.maps: Any = None
        if self.layer.axes == "chw":
            flat = make_extractor(
                "cnn", **extractor.get_params(deep=False) | {"pooling": "flatten"}
            )
            self.maps = flat.transform(images).reshape(len(images), *self.layer.shape)
            network = plan.network().module
            with name_network(plan.source.name, "does not run", network):
                self.field: Field = receptive_field(network, self.layer, self.size)
            self.field_px = list(self.field.size)

    def box(self, image: int, channel: int) -> tuple[slice, slice]:
        """What the highest activation of a channel depends on; else the whole image."""
        if self.maps is None:
            return slice(0, self.size[0]), slice(0, self.size[1])
        values = self.maps[image, channel]
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        return self.field.box(int(row), int(column))


def _row(
    features: FeatureSet,
    extractor: Any,
    channel: int,
    images: list[ActivatingImages],
    field_px: list[int],
) -> dict[str, Any]:
    label, n_label = Counter(item.label for item in images).most_common(1)[0]
    return {
        "spec": spec_of(extractor),
        "layer": extractor.layers[0],
        "channel": channel,
        "deviations": float(_scores(features.X[:, [channel]], len(images))[0]),
        "activation": images[0].activation,
        "field_px": field_px,
        "common_class": label or None,
        "n_of_class": n_label if label else None,
        "images": [item.path for item in images],
    }


def _is_common(row: dict[str, Any]) -> bool:
    """Whether more than half of a channel's images are of one class."""
    return bool(row["common_class"]) and 2 * row["n_of_class"] > len(row["images"])


def _sentence(row: dict[str, Any]) -> str:
    return (
        f"Channel {row['channel']} of {row['layer']}: {row['n_of_class']} of its "
        f"{len(row['images'])} most activating images are {row['common_class']}."
    )


def _module(plan: NetworkConfig, layer: Layer) -> Any:
    module = plan.network().module
    for name in plan.table.recording.nodes[layer.index].names:
        try:
            return module.get_submodule(name)
        except AttributeError:
            continue
    return None
