"""Sentences drawn from a table of features: what to use, and what to beware of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featx._lists import shorten_names
from featx.data.reading import Reading
from featx.evaluation.protocols import Protocol
from featx.evaluation.split_checks import describe_splits

Row = Mapping[str, Any]
SHUFFLED = "shuffled labels"


def advise_features(
    rows: Sequence[Row],
    data: str,
    rules: Protocol,
    networks: Mapping[str, Any] | None = None,
    *,
    reading: Reading | None = None,
    has_copies: bool = False,
) -> list[str]:
    """The winner, the controls, and the cheapest features that are no worse than the best.

    Parameters
    ----------
    rows : sequence of dict
        Of `compare`, best first.
    data : str
        The images, as a command line names them.
    rules : Protocol
    networks : dict of str to FineTunedClassifier, optional
        Those that were fine-tuned, by the names of their rows.
    reading : Reading, optional
        How the images were read.
    has_copies : bool, default=False
        Whether test images are among the training images: then nothing is advised.

    Returns
    -------
    list of str
    """
    features = [row for row in rows if not row["is_control"]]
    controls = [row for row in rows if row["is_control"] and row["spec"] != SHUFFLED]
    best = rows[0]
    sentences = [f"Best: {_name(best)}, {rules.metric.replace('_', ' ')} {_figure(best, rules)}."]
    if best["spec"] == SHUFFLED:
        return [*sentences, "No features are better than shuffled labels: nothing is learned here."]
    if best["is_control"]:
        sentences.append(
            f"The best is a control: these images do not need the compared features, or "
            f"{_name(best)} gives the classes away."
        )
    elif controls:
        sentences.append(_against_control(best, controls[0], rules))
    if has_copies:
        return [
            *sentences,
            "No features are advised, as test images are among the training images.",
        ]
    tied = [row for row in features if row["is_tied"] or row is best]
    if not tied:
        return sentences
    cheapest = min(tied, key=lambda row: row["ms_per_image"])
    network = (networks or {}).get(cheapest["spec"])
    if network is not None:
        return [*sentences, _choice(best, cheapest), *_how_to_train(network, data)]
    return [*sentences, _choice(best, cheapest), *_how_to_use(cheapest, data, reading or Reading())]


def list_warnings(gathered: Any, rows: Sequence[Row], rules: Protocol) -> list[str]:
    """What a user must know of a table besides its figures."""
    return [
        *warn_of_training_images(gathered),
        *describe_splits(gathered.dataset, rules, gathered.folds, gathered.copies),
        *_warn_of_convergence(rows),
        *_warn_of_small_classes(gathered, rules.train_per_class),
    ]


def _warn_of_small_classes(gathered: Any, n_wanted: int | None) -> list[str]:
    """A warning that names the classes with fewer training images than the protocol wants."""
    if n_wanted is None:
        return []
    train, _ = gathered.folds[0]
    names, counts = np.unique(gathered.dataset.labels[train], return_counts=True)
    few = [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < n_wanted]
    if not few:
        return []
    return [
        f"Fewer than {n_wanted} training images, as at least one per class is held out: "
        f"{shorten_names(few)}."
    ]


def _warn_of_convergence(rows: Sequence[Row]) -> list[str]:
    """A warning that names the features whose classifier did not reach its minimum."""
    names = [_name(row) for row in rows if not row["converged"]]
    if not names:
        return []
    return [f"Not converged: {', '.join(names)}; their accuracy may be a little off."]


def warn_of_training_images(gathered: Any) -> list[str]:
    """A warning where the bundled network was trained on images of the data."""
    if not any(getattr(kind.extractor, "model", "") == "featxnet" for kind in gathered.kinds):
        return []
    n_known = _count_training_images(gathered.digests)
    if not n_known:
        return []
    return [
        f"Beware: featxnet was trained on {n_known:,} of these {len(gathered.dataset):,} images "
        "(without their labels); its accuracy here says less than on held-out images."
    ]


def _count_training_images(digests: Sequence[Any]) -> int:
    """How many images are among those that the bundled network was trained on."""
    from featx.networks.featxnet import training_image_digests

    known = [digest for digest in digests if isinstance(digest, str)]
    heads = np.array([int(digest[:16], 16) for digest in known], np.uint64)
    return int(np.isin(heads, training_image_digests()).sum())


def _against_control(best: Row, control: Row, rules: Protocol) -> str:
    points = 100 * (best[rules.metric] - control[rules.metric])
    if control["is_tied"]:
        return (
            f"The paired test does not tell it from a control, {_name(control)}: "
            f"{_figure(control, rules)}."
        )
    return f"The best control, {_name(control)}, is {points:.1f} points behind."


def _choice(best: Row, cheapest: Row) -> str:
    if cheapest is best:
        return "No cheaper features are as good by the paired test: use these."
    return (
        f"Cheapest that is no worse by the paired test (p = {cheapest['p_value']:.2f}): "
        f"{_name(cheapest)}, {cheapest['ms_per_image']:.2g} ms per image rather than "
        f"{best['ms_per_image']:.2g}."
    )


def _how_to_use(row: Row, data: str, reading: Reading) -> list[str]:
    spec = row["spec"]
    words = [data, "-e", shlex.quote(spec), *reading.to_options()]
    options = "".join(f", {name}={value!r}" for name, value in reading.settings().items())
    return [
        f"Command: featx probe {' '.join(words)} --save probe.skops",
        f"Python: make_pipeline(featx.make_extractor({spec!r}{options}), featx.LinearProbe())",
    ]


def _how_to_train(network: Any, data: str) -> list[str]:
    """The command that trains and keeps a network, where it can be typed."""
    parameters = network.get_params(deep=False)
    defaults = type(network)().get_params(deep=False)
    changed = {key: value for key, value in parameters.items() if value != defaults[key]}
    options = {"model": parameters["model"], **changed}
    if not all(type(value) in (str, int, float) for value in options.values()):
        return []
    words = [f"--{key.replace('_', '-')} {shlex.quote(str(v))}" for key, v in options.items()]
    return [f"Command: featx finetune {data} {' '.join(words)} -o mine/"]


def _name(row: Row) -> str:
    return str(row["spec"])


def _figure(row: Row, rules: Protocol) -> str:
    low, high = ("low", "high") if rules.metric == "accuracy" else ("balanced_low", "balanced_high")
    return f"{row[rules.metric]:.3f} ({row[low]:.3f} to {row[high]:.3f})"
