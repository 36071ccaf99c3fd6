"""What ``featx finetune`` does: strategies on images, measured on the splits of a protocol."""

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
    what_trains,
)
from featx.finetuning.experiment_results import make_result
from featx.finetuning.heads import parse_sizes
from featx.finetuning.model_folder import check_folder, find_root, save_folder
from featx.finetuning.strategy_runs import StrategyRun, Study, gather_images
from featx.finetuning.training_summary import StageSummary, summarize
from featx.networks.configs import list_layers
from featx.networks.sources.finding import find_source
from featx.streaming.progress import ProgressCallback
from featx.trust.callables import Trust, is_callable_name

_LATER = ("epochs", "lr", "rates", "layer_decay")
"""Parameters of the stage after the head's."""

_EARLIER = ("head_epochs", "head_lr")
"""Parameters of the head's stage, which random weights have not."""

_UNHINDERED: dict[str, Any] = {"lr": None, "freeze": (), "rates": None, "layer_decay": 1.0}
"""Parameters of fine-tuning that would hold back training from scratch beside it."""

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
    """Fine-tune a network on images, and measure it as features are measured.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        Images with classes.
    model : str, path or torch.nn.Module, default="featxnet"
    domains : bool or list of str, optional
    compare : sequence of str, optional
        Strategies side by side: ``scratch`` (all layers from random weights, at the rate of
        such, for the epochs of both stages), ``frozen`` (the protocol's classifier on the
        features before the classes), ``head``, ``partial`` (see `partial`), ``full`` (all
        layers). By default the one that the parameters say: the head, or all layers of random
        weights.
    partial : str, optional
        Layer from which ``partial`` trains; by default the last third of the layers with
        weights.
    labels : sequence of int, default=()
        Numbers of training images per class for a learning curve, besides all.
    protocol, metric, train_per_class, n_splits, class_weight, splits, groups
        As in `featx.compare`: every strategy trains a network on the training images of each
        split, and is tested on the others. Images held out for early stopping are training images:
        those in ``val/`` where there is a ``test/``, else a random fraction of each class.
    seeds : int, default=1
        Repetitions on the same splits with other heads, orders and held-out images; where
        `train_per_class` takes few images of a folder, with others.
    random_state : int, default=0
        Of the splits, and the first seed.
    output : path, optional
        Folder for the network of the best strategy, as the first split and seed trained it.
    force : bool, default=False
    checkpoint : path, optional
        Folder with the state of each run; the same call goes on after a kill. It takes as much
        as the weights for each run, until all have ended.
    store, n_jobs, progress
        As in `featx.extract`.
    **parameters
        Of `featx.finetuning.classifier.FineTunedClassifier`.

    Returns
    -------
    Result
        A row for each strategy, with the columns and paired tests of `featx.compare`, and the
        same ``protocol`` as `featx.probe` has of these images. ``details`` hold ``curves``,
        ``label_curves``, ``gains``, ``confusion``, ``per_class`` and ``mistakes``.

    Raises
    ------
    SpecError
        If a strategy, parameter or protocol is not known.
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
    chosen = list(dict.fromkeys(compare)) if compare else [_strategy_of(base)]
    settings = {strategy: _settings(base, strategy, partial, compare) for strategy in chosen}
    if output is not None:
        _check_output(output, model, chosen, force=force, trust=base.get("trust"))
    notes = _say_of_scratch(parameters) if compare else _say_what_trains(base, parameters)
    for note in notes if not compare or "scratch" in chosen else ():
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
    gathered = gather_images(dataset, rules, settings.get("frozen"), cache, n_jobs, progress)
    _check_labels(labels, gathered, rules)
    if len(chosen) > 1:
        _check_layers(gathered, settings)
    progress.note(_describe_splits(gathered, rules, seeds))
    study = Study(gathered, rules, settings, checkpoint, progress)
    all_seeds = range(random_state, random_state + seeds)
    runs = [study.run(strategy, all_seeds, labels) for strategy in chosen]
    result = make_result(runs, gathered, rules)
    if output is not None:
        _save_best(runs, result, output, force=force)
        result.sentences += _say_of_trust(model, output)
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
    """Layers of a network with a head for the classes of some images, for each training stage.

    Nothing is trained, and no weights are loaded.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
    model : str, path or torch.nn.Module, default="featxnet"
    domains : bool or list of str, optional
    splits : {"auto", "none"}, default="auto"
    compare : sequence of str, optional
        As in `finetune`, where each strategy says what it trains.
    **parameters
        Of `featx.finetuning.classifier.FineTunedClassifier`.

    Returns
    -------
    list of StageSummary

    Raises
    ------
    SpecError
        If a parameter is not known.

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
    """Networks that `featx.compare` is to fine-tune, by the names of their rows.

    Parameters
    ----------
    texts : sequence of str
        ``MODEL[:STRATEGY][,key=value…]``, read as a SPEC is: a strategy of `finetune`, and
        parameters of `featx.finetuning.classifier.FineTunedClassifier`.
    random_state : int, default=0
    **parameters
        Of all networks, such as ``device`` and ``trust``.

    Raises
    ------
    SpecError
        If a strategy or parameter is not known.

    Examples
    --------
    >>> parse_networks(["lenet:full,epochs=5"])
    {'lenet full,epochs=5': FineTunedClassifier(epochs=5, model='lenet', train='all')}
    """
    networks = {}
    defaults = FineTunedClassifier().get_params(deep=False)
    for text in texts:
        model, strategies, named = parse_spec(text)
        given = {key: parse_value(value, defaults.get(key)) for key, value in named.items()}
        base = _check_parameters(model, {**parameters, **given}, is_alone=not strategies)
        strategy = ":".join(strategies) or _strategy_of(base)
        if strategy == "frozen":
            raise SpecError(f"{text!r} trains no network; ask for its features: -e cnn:{model}.")
        settings = _settings(base, strategy, None, strategies)
        words = [f"{key}={value}" for key, value in named.items() if key != "train"]
        name = ",".join([f"{model} {strategy}", *words])
        networks[name] = FineTunedClassifier(**{**settings, "random_state": random_state})
    return networks


def _check_parameters(
    model: Any, parameters: Mapping[str, Any], *, is_alone: bool = True
) -> dict[str, Any]:
    """Parameters of the classifier, checked; all layers train where none has learned yet.

    Parameters
    ----------
    model : str, path or torch.nn.Module
    parameters : mapping
        Of `featx.finetuning.classifier.FineTunedClassifier`.
    is_alone : bool, default=True
        Whether no strategies are compared, each of which says what trains.

    Raises
    ------
    SpecError
        If one is not known or has no value that it may have.
    ModelError
        If the sizes of a dense head are none.
    """
    known = FineTunedClassifier().get_params(deep=False)
    for name in parameters:
        if name not in known:
            raise SpecError(f"finetune has no parameter {name!r}; see FineTunedClassifier.")
    base = {"model": model, **parameters}
    if is_alone and base.get("train") is None:
        base["train"] = what_trains(base.get("weights"))
    made = FineTunedClassifier(**base)
    try:
        made._validate_params()
    except ValueError as error:  # Of scikit-learn.
        raise SpecError(one_line(error)) from error
    Augmentation.parse(made.augment, flip=made.flip)
    parse_sizes(made.hidden)
    return base


def _say_what_trains(base: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """What a user may not expect of what was given.

    Parameters
    ----------
    base : mapping
        What `_check_parameters` gave.
    given : mapping
        What it was given.
    """
    is_head = base.get("train", "head") == "head"
    is_random = base.get("weights") == "random"
    if is_random and "train" not in given:
        yield "Weights are random: all layers train. --train head trains the new classes alone."
    idle = [name for name in _LATER if is_head and name in given]
    if idle:
        yield (
            f"note: {', '.join(idle)} concern what trains after the head, and only the head does; "
            "add --train all or --train-from LAYER."
        )
    idle = [name for name in _EARLIER if is_random and not is_head and name in given]
    if idle:
        yield (
            f"note: {', '.join(idle)} concern a head alone, and random weights train all at once; "
            "give epochs and lr."
        )


def _say_of_scratch(given: Mapping[str, Any]) -> Iterator[str]:
    """What of the parameters does not concern training from scratch beside the others.

    Parameters
    ----------
    given : mapping
    """
    idle = [name for name in _UNHINDERED if name in given]
    if idle:
        yield f"note: {', '.join(idle)}: for the others; scratch trains all at {SCRATCH_LR:g}."


def _strategy_of(base: Mapping[str, Any]) -> str:
    """What a run without a comparison is called."""
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
        made = FineTunedClassifier(**base)  # As many epochs as two stages have together.
        n_epochs = made.head_epochs + made.epochs
        whole = {"weights": "random", "load": None, "train": "all", "epochs": n_epochs}
        return {**base, **whole, **_UNHINDERED}
    if strategy == "partial":
        return {**base, "train": partial or _last_third(base)}
    return {**base, "train": "all" if strategy == "full" else "head"}


def _last_third(base: Mapping[str, Any]) -> str:
    """Name of the layer where the last third of the layers with weights begins."""
    from featx.finetuning.heads import WEIGHTED

    how = {name: base.get(name) for name in ("size", "crop", "trust")}
    weighted = [layer for layer in list_layers(base["model"], **how) if layer.kind in WEIGHTED]
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
    """Refuse before any training what could not be kept after it."""
    check_folder(output, force=force)
    if set(strategies) == {"frozen"}:
        raise SpecError("frozen trains no network to keep; leave output out, or compare head too.")
    find_root(find_source(model, trust=trust))


def _save_best(
    runs: Sequence[StrategyRun],
    result: Result,
    output: str | os.PathLike[str],
    *,
    force: bool,
) -> None:
    """Write the network of the best strategy that has one, as the first split trained it."""
    by_spec = {run.kind.spec: run for run in runs if run.classifier is not None}
    row = next(row for row in result.rows if row["spec"] in by_spec)
    run = by_spec[row["spec"]]
    assert run.classifier is not None
    known = {**result.provenance, "protocol": result.protocol, "result": row}
    save_folder(run.classifier, output, provenance=known, force=force)
    which = f"{run.strategy}, of the first split" if len(row["accuracies"]) > 1 else run.strategy
    result.sentences.append(f"The network ({which}) is in {output}.")


def _describe_splits(gathered: Candidates, rules: Protocol, seeds: int) -> str:
    """What a strategy is trained and tested on, and how often."""
    (train, test), n_runs = gathered.folds[0], len(gathered.folds) * seeds
    text = f"{len(train):,} images to train on, {len(test):,} to test on ({rules.name})"
    if n_runs == 1:
        return text
    cure = "; --protocol random --n-splits 1 trains one" if len(gathered.folds) > 1 else ""
    return f"{text}; {n_runs} networks per strategy{cure}"


def _say_of_trust(model: Any, output: str | os.PathLike[str]) -> Iterator[str]:
    """How a folder is read whose network is the user's own code."""
    if is_callable_name(model):
        yield f"It names {model}, your own code: read it with --trust {output}."


def _check_layers(gathered: Candidates, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Find every layer that a strategy names before the first of them trains for hours."""
    known: Any = gathered.dataset.labels
    n_classes = len(np.unique(known[gathered.folds[0][0]]))
    for strategy, parameters in settings.items():
        if strategy != "frozen":
            classifier = FineTunedClassifier(**parameters)
            classifier.stages(classifier.prepare(n_classes, with_values=False))


def _check_labels(labels: Sequence[int], gathered: Candidates, rules: Protocol) -> None:
    """Refuse points of a learning curve that no split has the training images for."""
    if not labels:
        return
    known: Any = gathered.dataset.labels
    names, counts = np.unique(known[gathered.folds[0][0]], return_counts=True)
    smallest = int(counts.argmin())
    given = ", ".join(map(str, sorted(labels)))
    n_most = rules.train_per_class
    if n_most is not None and max(labels) > n_most:
        raise DatasetError(f"labels {given} are more than train_per_class={n_most}; give fewer.")
    if not 1 <= min(labels) <= max(labels) <= counts[smallest]:
        raise DatasetError(
            f"Expected {given} training images per class; {names[smallest]} has "
            f"{counts[smallest]}, so give 1 to {counts[smallest]}."
        )
