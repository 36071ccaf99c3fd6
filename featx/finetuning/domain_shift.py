"""Domain shift: the distance of images from those that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax
from torch import nn

from featx.data.images import Images
from featx.extractors.cnn import CNNFeatures
from featx.networks.configs import find_config
from featx.networks.network_errors import name_network
from featx.networks.sources.base import RANDOM
from featx.trust.callables import Trust

FAR = {"batch norm": 0.15, "model card": 0.5, "entropy": 0.25}
"""Distances from which on images count as unlike the source, by way of measuring.

Measured: a ResNet-20 of CIFAR-10 gives 0.10 for CIFAR-10 itself, 0.09 for photographs, 0.13 for
paintings, 0.21 for cartoons, 0.30 for sketches; featxnet 0.24 for photographs, 0.89 for sketches;
the entropy of SqueezeNet, the weakest of the three, 0.20 and 0.25.
"""

_MAX_IMAGES = 200
_MIN_CLASSES = 20
"""With fewer classes, a network's entropy says little about its source."""


@dataclass(frozen=True)
class SourceDistance:
    """A distance from a network's source.

    Parameters
    ----------
    way : {"batch norm", "model card", "entropy", "none"}
        How it was measured.
    value : float or None
        Shift of the channels' means in standard deviations of the source, or the entropy as a
        fraction of its maximum.
    words : str
    """

    way: str
    value: float | None
    words: str

    @property
    def is_like(self) -> bool | None:
        """Whether the images are like the source's; None if unknown."""
        return None if self.value is None else self.value < FAR[self.way]


def measure_distance(
    images: Images,
    model: Any,
    *,
    weights: Any = "default",
    size: Any = None,
    device: str = "auto",
    trust: Trust = None,
) -> SourceDistance:
    """Distance of images from what a network was trained on.

    Measured by the statistics of its batch norm if it has any, else by the feature statistics in
    featxnet's model card, else by the entropy of its own classes.

    Parameters
    ----------
    images : Images
        At most 200 of them are used.
    model : str, path or torch.nn.Module
    weights, size, device, trust
        As in `featx.extractors.cnn.CNNFeatures`.
    """
    indices = np.linspace(0, len(images) - 1, min(len(images), _MAX_IMAGES)).astype(int)
    sample = images.take(indices.tolist())
    options = {"weights": weights, "size": size, "device": device, "trust": trust}
    if weights == RANDOM:
        return SourceDistance("none", None, "random weights have no source")
    network = find_config(model, **options).network().module
    if any(_has_statistics(module) for module in network.modules()):
        return _by_batch_norm(sample, network, model, options)
    if model == "featxnet" and weights == "default":
        return _by_model_card(sample, options)
    return _by_entropy(sample, model, options)


def _shift_of(mean: Any, source_mean: Any, source_std: Any) -> float:
    """Mean distance of the channels' means, in standard deviations of the source.

    Examples
    --------
    >>> _shift_of([1.0, 0.0], [0.0, 0.0], [1.0, 1.0])
    0.5
    """
    distance = np.abs(np.asarray(mean, np.float64) - np.asarray(source_mean, np.float64))
    return float((distance / np.maximum(np.asarray(source_std, np.float64), 1e-6)).mean())


def _has_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None


def _by_batch_norm(
    images: Images, network: nn.Module, model: Any, options: dict[str, Any]
) -> SourceDistance:
    """Means of the inputs of each batch norm against its running means."""
    config = find_config(model, **options)
    normalize = config.network().normalize
    sums: dict[nn.Module, list[npt.NDArray[np.float64]]] = {}
    counts: dict[nn.Module, int] = {}

    def add_sums(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        value = inputs[0]
        dims = [d for d in range(value.dim()) if d != 1]
        # Sums rather than means: the last batch may be smaller than the others.
        sums.setdefault(module, []).append(value.double().sum(dims).cpu().numpy())
        counts[module] = counts.get(module, 0) + value.numel() // value.shape[1]

    hooks = [m.register_forward_pre_hook(add_sums) for m in network.modules() if _has_statistics(m)]
    try:
        with name_network(config.source.name, "does not run", network), torch.inference_mode():
            for batch in _batches(images, config.preprocessing):
                network(normalize(batch))
    finally:
        for hook in hooks:
            hook.remove()
    shifts = [_shift_of_norm(norm, np.sum(sums[norm], 0) / counts[norm]) for norm in sums]
    value = float(np.mean(shifts))
    norms = f"channels of {len(shifts)} batch norms"
    words = f"{norms} are {value:.2f} standard deviations from the source's"
    return SourceDistance("batch norm", value, words)


def _shift_of_norm(norm: Any, mean: npt.NDArray[np.float64]) -> float:
    variance = norm.running_var.double().cpu().numpy()
    return _shift_of(mean, norm.running_mean.cpu().numpy(), np.sqrt(variance))


def _batches(images: Images, preprocessing: Any) -> Iterator[torch.Tensor]:
    for start in range(0, len(images), 16):
        indices = range(start, min(start + 16, len(images)))
        pixels = np.stack([preprocessing.prepare(images.pixels(i)) for i in indices])
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (n, 3, h, w)


def _by_model_card(images: Images, options: dict[str, Any]) -> SourceDistance:
    """Means of featxnet's features against those in its model card."""
    from featx.networks.featxnet import load_card

    statistics = load_card()["feature_statistics"]
    means, start = _features(images, "featxnet", list(statistics), options).mean(0), 0
    shifts = []
    for source in statistics.values():
        stop = start + len(source["mean"])
        shifts.append(_shift_of(means[start:stop], source["mean"], source["std"]))
        start = stop
    value = float(np.mean(shifts))
    layers = ", ".join(statistics)
    words = f"features of {layers} are {value:.2f} standard deviations from the model card's"
    return SourceDistance("model card", value, words)


def _by_entropy(images: Images, model: Any, options: dict[str, Any]) -> SourceDistance:
    """Entropy of the network's own classes."""
    probabilities = softmax(_features(images, model, "logits", options), axis=1)
    n_classes = probabilities.shape[1]
    if n_classes < _MIN_CLASSES:
        words = f"no statistics of the source, and only {n_classes} classes for an entropy"
        return SourceDistance("none", None, words)
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(1)
    value = float(entropy.mean() / np.log(n_classes))
    words = f"the entropy of its own {n_classes:,} classes is {value:.2f} of its maximum"
    return SourceDistance("entropy", value, words)


def _features(
    images: Images, model: Any, layer: str | list[str], options: dict[str, Any]
) -> npt.NDArray[np.float32]:
    extractor = CNNFeatures(model, layer, pooling="gap", **options)
    rows: npt.NDArray[np.float32] = extractor.fit_transform(images)
    return rows
