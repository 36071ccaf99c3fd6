"""``featx finetune``: strategies of fine-tuning, measured on the splits of a protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from featx.engine.session import open_session
from featx.engine.specs import parse_spec, parse_value
from featx.errors import DatasetError, SpecError, one_line
from featx.evaluation.candidates import Candidates
from featx.evaluation.protocols import Protocol, find_protocol
from featx.features.results import Result
from featx.finetuning.augmentation import Augmentation
from featx.finetuning.checkpoints import remove_checkpoints
from featx.finetuning.classifier import (
    SCRATCH_LR,
    FineTunedClassifier,
    check_bands,
    default_train,
)
from featx.finetuning.experiment_results import make_result
from featx.finetuning.heads import WEIGHTED, parse_sizes
from featx.finetuning.model_folder import check_folder, find_root, save_folder
from featx.finetuning.strategy_runs import StrategyRun, Study, gather_images
from featx.finetuning.training_summary import StageSummary, summarize
from featx.networks.configs import list_layers
from featx.networks.sources.finding import find_source
from featx.streaming.progress import ProgressCallback
from featx.trust.callables import Trust, is_callable_name

_TUNE_PARAMETERS = ("epochs", "lr", "rates", "layer_decay")
"""Parameters of the second stage."""

_HEAD_PARAMETERS = ("head_epochs", "head_lr")
"""Parameters of the first stage, which is omitted for random weights."""

_SCRATCH_PARAMETERS: dict[str, Any] = {"lr": None, "freeze": (), "rates": None, "layer_decay": 1.0}
"""Values that training from scratch uses instead of those for fine-tuning."""

_STRATEGIES = ("scratch", "frozen", "head", "partial", "full")


def finetune(
    data: Any,
    model: Any = "featxnet",
    *,
    domains: Any = None,
    compare: Sequence[str] | None = None,
    partial: str | None = None,
    labels: Sequence[int] = (),
    protocol: str | Protocol | None = None,
    metric: str | None = None,
    train_per_class: int | None = None,
    n_splits: int | None = None,
    seeds: int = 1,
    random_state: int = 0,
    class_weight: str | None = None,
    splits: str = "auto",
    groups: str | bool | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    store: Any = "default",
    n_jobs: int | None = None,
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Result:
    """Fine-tune a network on images and measure it by the protocol of `featx.probe`.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        Images with classes.
    model : str, path or torch.nn.Module, default="featxnet"
    domains : bool or list of str, optional
    compare : sequence of str, optional
        Strategies to compare: ``scratch`` (all layers from random weights, for the epochs of
        both stages), ``frozen`` (a linear probe on the features before the classifier),
        ``head``, ``partial`` (see `partial`), ``full`` (all layers). By default one strategy, as
        the other parameters define it.
    partial : str, optional
        First layer that ``partial`` trains; by default the last third of the layers with weights
        is trained.
    labels : sequence of int, default=()
        Numbers of training images per class for a learning curve, in addition to all.
    protocol, metric, train_per_class, n_splits, class_weight, splits, groups
        As in `featx.compare`: every strategy trains a network on the training images of each
        split and is tested on the others. Images held out for early stopping are training images:
        those in ``val/`` if there is a ``test/``, else a random fraction of each class.
    seeds : int, default=1
        Repetitions on the same splits with other heads, orders and held-out images; if
        `train_per_class` draws few images from a folder, with other images too.
    random_state : int, default=0
        Seed of the splits, and the first of the seeds.
    output : path, optional
        Folder to save the network of the best strategy in, trained on the first split and seed.
    force : bool, default=False
        Whether to write into any folder.
    checkpoint : path, optional
        Folder for the checkpoints of all runs; after a kill the same call resumes there. It takes
        a few times the size of the weights per run, until all runs have ended.
    store, n_jobs, progress
        As in `featx.extract`.
    **parameters
        Parameters of `featx.finetuning.classifier.FineTunedClassifier`.

    Returns
    -------
    Result
        A row per strategy, with the columns and paired tests of `featx.compare`, and the
        ``protocol`` that `featx.probe` uses for these images. ``details`` holds ``curves``,
        ``label_curves``, ``gains``, ``confusion``, ``per_class`` and ``mistakes``.

    Raises
    ------
    SpecError
        If a strategy, parameter or protocol does not exist.
    DatasetError
        If there are no labels, or too few images.
    """
    parameters["class_weight"] = class_weight
    base = _check_parameters(model, parameters, is_alone=not compare)
    dataset, cache, progress, _ = open_session(
        data,
        domains=domains,
        splits=splits,
        groups=groups,
        store=store,
        progress=progress,
        **parameters,
    )
    check_bands(dataset.images.reading)
    base |= {"store": cache, **dataset.images.reading.settings()}
    strategies = list(dict.fromkeys(compare)) if compare else [_strategy_of(base)]
    settings = {strategy: _settings(base, strategy, partial, compare) for strategy in strategies}
    if output is not None:
        _check_output(output, model, strategies, force=force, trust=base.get("trust"))
    notes = _scratch_notes(parameters) if compare else _unused_notes(base, parameters)
    for note in notes if not compare or "scratch" in strategies else ():
        progress.note(note)
    rules = find_protocol(
        protocol,
        dataset.splits,
        dataset.labels,
        metric=metric,
        train_per_class=train_per_class,
        n_splits=n_splits,
        random_state=random_state,
        class_weight=class_weight,
    )
    candidates = gather_images(dataset, rules, settings.get("frozen"), cache, n_jobs, progress)
    _check_labels(labels, candidates, rules)
    if len(strategies) > 1:
        _check_layers(candidates, settings)
    progress.note(_describe_splits(candidates, rules, seeds))
    study = Study(candidates, rules, settings, checkpoint, progress)
    all_seeds = range(random_state, random_state + seeds)
    runs = [study.run(strategy, all_seeds, labels) for strategy in strategies]
    result = make_result(runs, candidates, rules)
    if output is not None:
        _save_best(runs, result, output, force=force)
        result.sentences += _trust_notes(model, output)
    remove_checkpoints(study.checkpoints)
    return result


def summarize_training(
    data: Any,
    model: Any = "featxnet",
    *,
    domains: Any = None,
    splits: str = "auto",
    compare: Sequence[str] | None = None,
    **parameters: Any,
) -> list[StageSummary]:
    """Layers of a network with a head for the classes of some images, per training stage.

    Trains nothing and loads no weights.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
    model : str, path or torch.nn.Module, default="featxnet"
    domains : bool or list of str, optional
    splits : {"auto", "none"}, default="auto"
    compare : sequence of str, optional
        As in `finetune`.
    **parameters
        Parameters of `featx.finetuning.classifier.FineTunedClassifier`.

    Returns
    -------
    list of StageSummary

    Raises
    ------
    SpecError
        If a parameter does not exist.

    Examples
    --------
    >>> head, tune = summarize_training("digits", "lenet", train="all")
    >>> tune.name, tune.n_epochs, tune.rows[-3]["layer"]
    ('tune', 15, 'total')
    """
    classifier = FineTunedClassifier(**_check_parameters(model, parameters, is_alone=not compare))
    dataset = open_session(data, domains=domains, splits=splits).dataset
    classes = set() if dataset.labels is None else set(dataset.labels.tolist()) - {""}
    prepared = classifier.prepare(max(2, len(classes)), with_values=False)
    return [
        StageSummary(stage.name, stage.n_epochs, summarize(prepared, stage.plan))
        for stage in classifier.stages(prepared)
    ]


def parse_networks(
    texts: Sequence[str], random_state: int = 0, **parameters: Any
) -> dict[str, FineTunedClassifier]:
    """Networks for `featx.compare` to fine-tune, by the names of their rows.

    Parameters
    ----------
    texts : sequence of str
        ``MODEL[:STRATEGY][,key=value…]``, in the syntax of a SPEC: a strategy of `finetune` and
        parameters of `featx.finetuning.classifier.FineTunedClassifier`.
    random_state : int, default=0
    **parameters
        Parameters of all networks, such as ``device`` and ``trust``.

    Raises
    ------
    SpecError
        If a strategy or parameter does not exist.

    Examples
    --------
    >>> parse_networks(["lenet:full,epochs=5"])
    {'lenet full,epochs=5': FineTunedClassifier(epochs=5, model='lenet', train='all')}
    """
    networks = {}
    defaults = FineTunedClassifier().get_params(deep=False)
    for text in texts:
        model, strategies, named = parse_spec(text)
        values = {key: parse_value(value, defaults.get(key)) for key, value in named.items()}
        base = _check_parameters(model, {**parameters, **values}, is_alone=not strategies)
        strategy = ":".join(strategies) or _strategy_of(base)
        if strategy == "frozen":
            raise SpecError(f"{text!r} trains no network; compare its features: -e cnn:{model}.")
        settings = _settings(base, strategy, None, strategies)
        options = [f"{key}={value}" for key, value in named.items() if key != "train"]
        name = ",".join([f"{model} {strategy}", *options])
        networks[name] = FineTunedClassifier(**{**settings, "random_state": random_state})
    return networks


def _check_parameters(
    model: Any, parameters: Mapping[str, Any], *, is_alone: bool = True
) -> dict[str, Any]:
    """Valid parameters of the classifier; with random weights all layers are trained.

    `is_alone` says that no strategies are compared, which define themselves what is trained.

    Raises
    ------
    SpecError
        If a parameter does not exist or its value is invalid.
    ModelError
        If the sizes of dense layers are invalid.
    """
    names = FineTunedClassifier().get_params(deep=False)
    for name in parameters:
        if name not in names:
            raise SpecError(f"finetune has no parameter {name!r}; see FineTunedClassifier.")
    base = {"model": model, **parameters}
    if is_alone and base.get("train") is None:
        base["train"] = default_train(base.get("weights"))
    classifier = FineTunedClassifier(**base)
    try:
        classifier._validate_params()
    except ValueError as error:
        raise SpecError(one_line(error)) from error
    Augmentation.parse(classifier.augment, flip=classifier.flip)
    parse_sizes(classifier.hidden)
    return base


def _unused_notes(base: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    """Notes on parameters of the user that have no effect, and on random weights."""
    is_head = base.get("train", "head") == "head"
    is_random = base.get("weights") == "random"
    if is_random and "train" not in parameters:
        yield "Weights are random: all layers are trained. --train head trains only the new head."
    unused = [name for name in _TUNE_PARAMETERS if is_head and name in parameters]
    if unused:
        yield (
            f"note: {', '.join(unused)} have no effect: only the head is trained. Add --train all "
            "or --train-from LAYER."
        )
    unused = [name for name in _HEAD_PARAMETERS if is_random and not is_head and name in parameters]
    if unused:
        yield (
            f"note: {', '.join(unused)} have no effect: random weights are trained in one stage. "
            "Set epochs and lr."
        )


def _scratch_notes(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Note on parameters that have no effect on training from scratch."""
    unused = [name for name in _SCRATCH_PARAMETERS if name in parameters]
    if unused:
        yield (
            f"note: {', '.join(unused)} have no effect on scratch, which trains all layers at a "
            f"learning rate of {SCRATCH_LR:g}."
        )


def _strategy_of(base: Mapping[str, Any]) -> str:
    """Name of the strategy that parameters define."""
    if base.get("weights") == "random" and base.get("train") == "all":
        return "scratch"
    train = str(base.get("train", "head"))
    return {"head": "head", "all": "full"}.get(train, f"from {train}")


def _settings(
    base: Mapping[str, Any], strategy: str, partial: str | None, compare: Any
) -> dict[str, Any]:
    """Parameters of a strategy."""
    if not compare:
        return dict(base)
    if strategy not in _STRATEGIES:
        raise SpecError(f"Strategy {strategy!r} is not one of {', '.join(_STRATEGIES)}.")
    if strategy == "scratch":
        classifier = FineTunedClassifier(**base)
        n_epochs = classifier.head_epochs + classifier.epochs  # As many as both stages have.
        whole = {"weights": "random", "load": None, "train": "all", "epochs": n_epochs}
        return {**base, **whole, **_SCRATCH_PARAMETERS}
    if strategy == "partial":
        return {**base, "train": partial or _last_third(base)}
    return {**base, "train": "all" if strategy == "full" else "head"}


def _last_third(base: Mapping[str, Any]) -> str:
    """Name of the layer where the last third of the layers with weights begins."""
    options = {name: base.get(name) for name in ("size", "crop", "trust")}
    weighted = [layer for layer in list_layers(base["model"], **options) if layer.kind in WEIGHTED]
    layer = weighted[2 * len(weighted) // 3]
    return layer.alias or layer.node


def _check_output(
    output: str | os.PathLike[str],
    model: Any,
    strategies: Sequence[str],
    *,
    force: bool,
    trust: Trust = None,
) -> None:
    """Refuse an output that could not be written after training."""
    check_folder(output, force=force)
    if set(strategies) == {"frozen"}:
        raise SpecError("frozen trains no network to save; omit output, or compare head too.")
    find_root(find_source(model, trust=trust))


def _save_best(
    runs: Sequence[StrategyRun],
    result: Result,
    output: str | os.PathLike[str],
    *,
    force: bool,
) -> None:
    """Save the network of the best strategy that has one, trained on the first split."""
    by_spec = {run.kind.spec: run for run in runs if run.classifier is not None}
    row = next(row for row in result.rows if row["spec"] in by_spec)
    run = by_spec[row["spec"]]
    assert run.classifier is not None
    provenance = {**result.provenance, "protocol": result.protocol, "result": row}
    save_folder(run.classifier, output, provenance=provenance, force=force)
    name = f"{run.strategy}, first split" if len(row["accuracies"]) > 1 else run.strategy
    result.sentences.append(f"The network ({name}) was saved to {output}.")


def _describe_splits(candidates: Candidates, rules: Protocol, seeds: int) -> str:
    """Sizes and number of the splits."""
    (train, test), n_runs = candidates.folds[0], len(candidates.folds) * seeds
    text = f"{len(train):,} images to train on, {len(test):,} to test on ({rules.name})"
    if n_runs == 1:
        return text
    hint = "; --protocol random --n-splits 1 trains one" if len(candidates.folds) > 1 else ""
    return f"{text}; {n_runs} networks per strategy{hint}"


def _trust_notes(model: Any, output: str | os.PathLike[str]) -> Iterator[str]:
    """How to load a folder whose network is the user's own code."""
    if is_callable_name(model):
        yield f"It names {model}, your own code: load it with --trust {output}."


def _check_layers(candidates: Candidates, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the layers of all strategies before the first is trained."""
    targets: Any = candidates.dataset.labels
    n_classes = len(np.unique(targets[candidates.folds[0][0]]))
    for strategy, parameters in settings.items():
        if strategy != "frozen":
            classifier = FineTunedClassifier(**parameters)
            classifier.stages(classifier.prepare(n_classes, with_values=False))


def _check_labels(labels: Sequence[int], candidates: Candidates, rules: Protocol) -> None:
    """Refuse points of a learning curve for which a split has too few training images."""
    if not labels:
        return
    targets: Any = candidates.dataset.labels
    names, counts = np.unique(targets[candidates.folds[0][0]], return_counts=True)
    smallest = int(counts.argmin())
    points = ", ".join(map(str, sorted(labels)))
    limit = rules.train_per_class
    if limit is not None and max(labels) > limit:
        raise DatasetError(f"labels {points} exceed train_per_class={limit}; name smaller numbers.")
    if not 1 <= min(labels) <= max(labels) <= counts[smallest]:
        raise DatasetError(
            f"A learning curve needs 1 to {counts[smallest]} training images per class, the number "
            f"that {names[smallest]} has; got {points}."
        )
