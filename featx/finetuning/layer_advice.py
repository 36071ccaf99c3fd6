"""Measured advice on the kind of transfer learning for some images: `advise`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.data.datasets import ImageDataset
from featx.engine.session import open_session
from featx.engine.specs import spec_of
from featx.evaluation.candidates import Candidates, gather_candidates
from featx.evaluation.comparison import describe_protocol, score_candidate, score_shuffled
from featx.evaluation.protocols import Protocol, find_protocol
from featx.evaluation.recommendations import list_warnings
from featx.evaluation.split_scores import SplitScores
from featx.extractors.cnn import CNNFeatures
from featx.features.results import Result
from featx.finetuning.domain_shift import SourceDistance, measure_distance
from featx.networks.configs import list_layers
from featx.networks.layers import CONVOLUTIONS, LINEARS, LayerTable
from featx.networks.sources.base import RANDOM
from featx.streaming.progress import ProgressCallback
from featx.trust.callables import Trust

_FEW = 100
"""Training images per class below which they count as few."""

_ENOUGH = 0.98
"""Accuracy of a linear head above which fine-tuning is not worth its cost."""

CONTROLS = ("color", "pixels,image_size=16")
_N_DEPTHS = 5


@dataclass
class _Measurements:
    """Measurements of images and a network.

    Parameters
    ----------
    n_per_class : float
        Mean number of training images per class.
    distance : SourceDistance
    layers : list of str
        In order of execution.
    scores : list of SplitScores
        One per layer.
    controls : dict of str to SplitScores
        Shuffled labels, colors, pixels, and the best layer with random weights.
    """

    n_per_class: float
    distance: SourceDistance
    layers: list[str]
    scores: list[SplitScores]
    controls: dict[str, SplitScores]

    @property
    def best(self) -> int:
        """Index of the layer with the highest accuracy; the deepest of those tied with it."""
        top = int(np.argmax([score.accuracy for score in self.scores]))
        tied = [
            i
            for i, score in enumerate(self.scores)
            if i == top or score.compared_to(self.scores[top]).is_tied
        ]
        return max(tied)

    @property
    def has_early_peak(self) -> bool:
        """Whether the deepest layer is significantly worse than an earlier one."""
        return self.best < len(self.layers) - 1

    @property
    def is_few(self) -> bool:
        """Whether there are few training images."""
        return self.n_per_class < _FEW

    @property
    def is_like(self) -> bool:
        """Whether the images are like the source's; if unknown, by the depth curve."""
        is_like = self.distance.is_like
        return not self.has_early_peak if is_like is None else is_like

    @property
    def unbeaten(self) -> list[str]:
        """Controls that no frozen features beat significantly."""
        best = self.scores[self.best]
        tests = {name: best.compared_to(control) for name, control in self.controls.items()}
        return [name for name, test in tests.items() if test.difference <= 0 or test.is_tied]


def advise(
    data: Any,
    model: Any = "featxnet",
    *,
    weights: Any = "default",
    domains: Any = None,
    size: Any = None,
    device: str = "auto",
    random_state: int = 0,
    groups: str | bool | None = None,
    store: Any = "default",
    progress: ProgressCallback | None = None,
    trust: Trust = None,
    **parameters: Any,
) -> Result:
    """Recommend how to use a network: frozen, partly or fully fine-tuned, or not at all.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        Labeled images.
    model : str, path or torch.nn.Module, default="featxnet"
    weights, size, device, trust
        As in `featx.extractors.cnn.CNNFeatures`.
    domains : bool or list of str, optional
    random_state : int, default=0
    groups : str or False, optional
        As in `featx.compare`.
    store, progress
        As in `featx.extract`.
    **parameters
        Parameters of the extractors, such as ``n_jobs``.

    Returns
    -------
    Result
        A row per layer and control. The sentences describe the case, the advice with its
        reasons, and the command to run.

    Raises
    ------
    DatasetError
        If the images have no classes.

    Notes
    -----
    The four cases (few or many images, similar to the source or not) are those of Yosinski et
    al., "How transferable are features in deep neural networks?", NIPS 2014, as summarized in
    course notes; both axes are measured here. `_FEW` and `featx.finetuning.domain_shift.FAR`
    define what counts as few and as dissimilar.
    """
    dataset, cache, progress, parameters = open_session(
        data, domains=domains, groups=groups, store=store, progress=progress, **parameters
    )
    layers = _choose_depths(list_layers(model, size=size, trust=trust))
    rules = find_protocol(None, dataset.splits, dataset.labels, random_state=random_state)
    network_options = {
        "pooling": "gap",
        "weights": weights,
        "size": size,
        "device": device,
        "trust": trust,
    }
    network = CNNFeatures(model, layers, **network_options)
    random_network = CNNFeatures(model, layers, **network_options | {"weights": RANDOM})
    others = [] if weights == RANDOM else [random_network]
    candidates = gather_candidates(
        dataset, [network, *others, *CONTROLS], rules, store=cache, has_controls=False,
        progress=progress, **parameters,
    )  # fmt: skip
    progress.note("distance from the network's source")
    distance = measure_distance(
        candidates.dataset.images, model, weights=weights, size=size, device=device, trust=trust
    )
    measurements = _measure(candidates, rules, layers, distance)
    rows = _rows(measurements)
    arguments = [_data_arguments(data, dataset, domains), *dataset.images.reading.to_options()]
    sentences = _advice(measurements, " ".join(arguments), model, weights, size)
    return Result(
        "advise",
        dataset.source,
        rows,
        describe_protocol(rules, candidates),
        [*list_warnings(candidates, rows, rules), *sentences],
        candidates.failures,
        {"distance": {"way": distance.way, "value": distance.value, "words": distance.words}},
        candidates.provenance,
    )


def _choose_depths(table: LayerTable) -> list[str]:
    """Some named layers, evenly spaced from the first to the last before the classifier.

    Examples
    --------
    >>> _choose_depths(list_layers("alexnet"))
    ['conv1', 'pool2', 'conv5', 'fc7', 'relu_fc7']
    """
    last = table.find("penultimate")
    weighted = CONVOLUTIONS | LINEARS | {"MaxPool2d"}
    named = [
        layer
        for layer in table
        if layer.alias and layer.index < last.index and layer.kind in weighted
    ]
    indices = np.linspace(0, len(named) - 1, _N_DEPTHS - 1).round().astype(int)
    chosen = [named[i] for i in dict.fromkeys(indices.tolist())] if named else []
    return [layer.alias or layer.node for layer in [*chosen, last]]


def _measure(
    candidates: Candidates, rules: Protocol, layers: Sequence[str], distance: SourceDistance
) -> _Measurements:
    """Scores of the layers and of the controls, that of random weights at the best layer."""
    n_layers, n_others = len(layers), len(CONTROLS)
    kinds = candidates.kinds[:n_layers]
    scores = [score_candidate(kind, candidates, rules) for kind in kinds]
    train, labels = candidates.folds[0][0], candidates.dataset.labels
    n_per_class = len(train) / len(np.unique(labels[train]))  # type: ignore[index]
    measurements = _Measurements(n_per_class, distance, list(layers), scores, {})
    controls = dict(zip(CONTROLS, candidates.kinds[-n_others:], strict=True))
    if random_weights := candidates.kinds[n_layers:-n_others]:
        controls["random weights"] = random_weights[measurements.best]
    shuffled = score_shuffled(kinds[measurements.best], candidates, rules)
    measurements.controls = {"shuffled labels": shuffled} | {
        name: score_candidate(kind, candidates, rules) for name, kind in controls.items()
    }
    return measurements


def _rows(measurements: _Measurements) -> list[dict[str, Any]]:
    names = [(layer, False) for layer in measurements.layers]
    names += [(name, True) for name in measurements.controls]
    everything = [*measurements.scores, *measurements.controls.values()]
    return [
        {
            "spec": name,
            "layer": None if is_control else name,
            "is_control": is_control,
            **{k: v for k, v in score.to_row().items() if k != "train_seconds"},
        }
        for (name, is_control), score in zip(names, everything, strict=True)
    ]


def _data_arguments(data: Any, dataset: ImageDataset, domains: Any) -> str:
    """The images as arguments of a command."""
    items = data if isinstance(data, list | tuple) else [data]
    is_named = all(isinstance(item, str | os.PathLike) for item in items)
    arguments = shlex.join(map(str, items)) if is_named else shlex.quote(dataset.source)
    if not domains or isinstance(data, ImageDataset):
        return arguments
    names = [domains] if isinstance(domains, str) else domains
    return f"{arguments} --domains {'all' if names is True else shlex.quote(','.join(names))}"


def _advice(
    measurements: _Measurements, data: str, model: Any, weights: Any, size: Any
) -> list[str]:
    """The case, the measurements, the advice, and the command."""
    best, layer = measurements.scores[measurements.best], measurements.layers[measurements.best]
    amount = "few" if measurements.is_few else "many"
    likeness = "like" if measurements.is_like else "unlike"
    is_measured = measurements.distance.is_like is not None
    peak = "earlier than the last layer" if measurements.has_early_peak else "at the last layer"
    case = [
        f"Images: {measurements.n_per_class:.0f} training images per class, which is {amount} "
        f"(fewer than {_FEW} count as few).",
        f"Source: {measurements.distance.words}"
        + (f"; they are {likeness} it." if is_measured else "; decided by the depth curve."),
        f"Depth: no layer is significantly better than {layer}, {peak} ({best.accuracy:.1%} "
        f"[{best.low:.1%}, {best.high:.1%}]). Controls: "
        + ", ".join(f"{name} {s.accuracy:.1%}" for name, s in measurements.controls.items())
        + ".",
        f"Case: {amount} images, {likeness} the source.",
    ]
    advice, name, options = _choose(measurements, layer)
    command = f"{name} {data} --model {shlex.quote(str(model))}"
    if weights != "default" and "--weights" not in options:
        command += f" --weights {shlex.quote(str(weights))}"
    if isinstance(size, int) and name == "featx finetune":
        command += f" --size {size}"
    run = f"Run: {command} {options}"
    if size is not None and name == "featx probe":
        extractor = CNNFeatures(model, layer, pooling="gap", size=size, weights=weights)
        spec = shlex.quote(spec_of(extractor))
        run = f"Run: featx probe {data} -e {spec} --save probe.skops"
    return [*case, f"Advice: {advice}.", run]


def _choose(measurements: _Measurements, layer: str) -> tuple[str, str, str]:
    """Advice with its reason, the command, and its options."""
    probe = ("featx probe", f"--layer {layer} --pooling gap --save probe.skops")
    best = measurements.scores[measurements.best].accuracy
    if measurements.unbeaten and not measurements.is_few:
        options = "--weights random --train all --epochs 60 --augment standard -o mine/"
        why = "no frozen features are better than the controls, and there are many images"
        return f"train from scratch: {why}", "featx finetune", options
    if measurements.unbeaten:
        why = (
            f"they are no better than {' and '.join(measurements.unbeaten)}, and there are too few "
            "images to train more; collect images, or try another network with --model"
        )
        return (
            f"frozen features of {layer} and a linear head, for lack of a better option: {why}",
            *probe,
        )
    if best >= _ENOUGH:
        why = f"they already reach {best:.1%}"
        return f"frozen features of {layer} and a linear head: {why}", *probe
    if measurements.is_few and not measurements.has_early_peak:
        why = "the deepest features are best, and with so few images fine-tuning may overfit"
        why = why if measurements.is_like else f"although the images are unlike the source, {why}"
        return f"frozen features of {layer} and a linear head: {why}", *probe
    if measurements.is_few:
        why = "later layers are specific to the source's classes, with too few images to retrain"
        return f"features of an earlier layer, {layer}, and a linear head: {why}", *probe
    if measurements.is_like:
        later = measurements.layers[max(1, len(measurements.layers) // 2)]
        why = "many images like the source's, which early layers already fit"
        options = f"--train-from {later} -o mine/"
        if later.startswith("pool"):
            options = f"--train all --freeze {measurements.layers[0]} --layer-decay 0.7 -o mine/"
        return (
            f"freeze the layers before {later} and train the rest: {why}",
            "featx finetune",
            options,
        )
    why = "many images, unlike the source's"
    options = "--train all --layer-decay 0.8 -o mine/"
    return f"fine-tune all layers: {why}", "featx finetune", options
