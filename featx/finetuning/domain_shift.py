"""How far images lie from those that a network was trained on, as far as that can be told."""

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
"""From where on images count as unlike the source, by each way of telling.

Measured: a ResNet-20 of CIFAR-10 gives 0.10 for CIFAR-10 itself, 0.09 for photographs, 0.13 for
paintings, 0.21 for cartoons, 0.30 for sketches; featxnet 0.24 for photographs, 0.89 for sketches;
the entropy of SqueezeNet, the weakest of the three, 0.20 and 0.25.
"""

_MOST_IMAGES = 200
_MIN_CLASSES = 20
"""With fewer classes the entropy of a network says little about its source."""


@dataclass(frozen=True)
class SourceDistance:
    """A distance from a network's source.

    Parameters
    ----------
    way : {"batch norm", "model card", "entropy", "none"}
        What it was told by.
    value : float or None
        Shift of the channels' means in standard deviations of the source; of the entropy its
        share of the largest there could be.
    words : str
    """

    way: str
    value: float | None
    words: str

    @property
    def is_like(self) -> bool | None:
        """Whether the images are like the source's; None where it cannot be said."""
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

    By its batch norm's statistics where it has any, else the feature statistics in featxnet's
    model card, else the entropy of its own classes.

    Parameters
    ----------
    images : Images
        At most 200 of them are looked at.
    model : str, path or torch.nn.Module
    weights, size, device, trust
        As in `featx.extractors.cnn.CNNFeatures`.
    """
    indices = np.linspace(0, len(images) - 1, min(len(images), _MOST_IMAGES)).astype(int)
    few = images.take(indices.tolist())
    how = {"weights": weights, "size": size, "device": device, "trust": trust}
    if weights == RANDOM:
        return SourceDistance("none", None, "random weights have no source")
    network = find_config(model, **how).network().module
    if any(_has_statistics(module) for module in network.modules()):
        return _by_batch_norm(few, network, model, how)
    if model == "featxnet" and weights == "default":
        return _by_model_card(few, how)
    return _by_entropy(few, model, how)


def _shift_of(mean: Any, source_mean: Any, source_std: Any) -> float:
    """Mean over channels of how far their means lie apart, in standard deviations of the source.

    Examples
    --------
    >>> _shift_of([1.0, 0.0], [0.0, 0.0], [1.0, 1.0])
    0.5
    """
    apart = np.abs(np.asarray(mean, np.float64) - np.asarray(source_mean, np.float64))
    return float((apart / np.maximum(np.asarray(source_std, np.float64), 1e-6)).mean())


def _has_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None


def _by_batch_norm(
    images: Images, network: nn.Module, model: Any, how: dict[str, Any]
) -> SourceDistance:
    """Means of what goes into each batch norm, against the running ones."""
    plan = find_config(model, **how)
    made = plan.network()
    sums: dict[nn.Module, list[npt.NDArray[np.float64]]] = {}
    counts: dict[nn.Module, int] = {}

    def see(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        value = inputs[0]
        dims = [d for d in range(value.dim()) if d != 1]
        # Sums rather than means: the last batch may be smaller than the others.
        sums.setdefault(module, []).append(value.double().sum(dims).cpu().numpy())
        counts[module] = counts.get(module, 0) + value.numel() // value.shape[1]

    hooks = [m.register_forward_pre_hook(see) for m in network.modules() if _has_statistics(m)]
    try:
        with name_network(plan.source.name, "does not run", network), torch.inference_mode():
            for batch in _batches(images, plan.preprocessing):
                network(made.normalize(batch))
    finally:
        for hook in hooks:
            hook.remove()
    shifts = [_shift_of_norm(norm, np.sum(sums[norm], 0) / counts[norm]) for norm in sums]
    value = float(np.mean(shifts))
    norms = f"channels of {len(shifts)} batch norms"
    words = f"{norms} lie {value:.2f} standard deviations from the source's"
    return SourceDistance("batch norm", value, words)


def _shift_of_norm(norm: Any, mean: npt.NDArray[np.float64]) -> float:
    variance = norm.running_var.double().cpu().numpy()
    return _shift_of(mean, norm.running_mean.cpu().numpy(), np.sqrt(variance))


def _batches(images: Images, preprocessing: Any) -> Iterator[torch.Tensor]:
    for start in range(0, len(images), 16):
        indices = range(start, min(start + 16, len(images)))
        pixels = np.stack([preprocessing.prepare(images.pixels(i)) for i in indices])
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (n, 3, h, w)


def _by_model_card(images: Images, how: dict[str, Any]) -> SourceDistance:
    """Means of featxnet's features against those in its card."""
    from featx.networks.featxnet import load_card

    statistics = load_card()["feature_statistics"]
    means, start = _features(images, "featxnet", list(statistics), how).mean(0), 0
    shifts = []
    for known in statistics.values():
        stop = start + len(known["mean"])
        shifts.append(_shift_of(means[start:stop], known["mean"], known["std"]))
        start = stop
    value = float(np.mean(shifts))
    layers = ", ".join(statistics)
    words = f"features of {layers} lie {value:.2f} standard deviations from the model card's"
    return SourceDistance("model card", value, words)


def _by_entropy(images: Images, model: Any, how: dict[str, Any]) -> SourceDistance:
    """How undecided the network is between its own classes."""
    shares = softmax(_features(images, model, "logits", how), axis=1)
    n_classes = shares.shape[1]
    if n_classes < _MIN_CLASSES:
        words = f"no statistics of the source, and only {n_classes} classes to be undecided between"
        return SourceDistance("none", None, words)
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(1)
    value = float(entropy.mean() / np.log(n_classes))
    words = (
        f"the entropy of its own {n_classes:,} classes is {value:.2f} of the largest there could be"
    )
    return SourceDistance("entropy", value, words)


def _features(
    images: Images, model: Any, layer: str | list[str], how: dict[str, Any]
) -> npt.NDArray[np.float32]:
    extractor = CNNFeatures(model, layer, pooling="gap", **how)
    rows: npt.NDArray[np.float32] = extractor.fit_transform(images)
    return rows
