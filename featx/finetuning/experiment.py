"""What ``featx finetune`` does: strategies on pictures, measured on pictures left out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from featx.engine.extraction import extract
from featx.engine.session import open_session
from featx.errors import SpecError, one_line
from featx.evaluation.linear_probe import LinearProbe
from featx.features.results import Result
from featx.finetuning.augmentation import Augmentation
from featx.finetuning.checkpoints import remove_checkpoints
from featx.finetuning.classifier import (
    SCRATCH_LR,
    FineTunedClassifier,
    divide,
    what_trains,
)
from featx.finetuning.data_split import DataSplit, load_data_split
from featx.finetuning.experiment_results import Run, Runs, make_result
from featx.finetuning.heads import parse_sizes
from featx.finetuning.model_folder import check_folder, find_root, save_folder
from featx.finetuning.training_summary import StageSummary, count_parameters, summarize
from featx.networks.sources.finding import find_source
from featx.store.feature_store import FeatureStore
from featx.streaming.progress import BarOnly, ProgressCallback
from featx.trust.callables import Trust, is_callable_name

_LATER = ("epochs", "lr", "rates", "layer_decay")
"""Parameters of the stage after the head's."""

_EARLIER = ("head_epochs", "head_lr")
"""Parameters of the head's stage, which random weights have not."""

_UNHINDERED: dict[str, Any] = {"lr": None, "freeze": (), "rates": None, "layer_decay": 1.0}
"""Parameters of fine-tuning that would hold back training from scratch beside it."""

_NOT_REPORTED = ("store", "checkpoint", "random_state", "trust")
_STRATEGIES = ("scratch", "frozen", "head", "partial", "full")


def finetune(
    data: Any,
    model: Any = "featxnet",
    *,
    domains: Any = None,
    compare: Sequence[str] | None = None,
    partial: str | None = None,
    labels: Sequence[int] = (),
    train_per_class: int | None = None,
    seeds: int = 1,
    random_state: int = 0,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    store: Any = "default",
    n_jobs: int | None = None,
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Result:
    """Fine-tune a network on pictures, and measure it on pictures that were left out.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        Images with classes, divided as `featx.finetuning.data_split.load_data_split` says.
    model : str, path or torch.nn.Module, default="featxnet"
    domains : bool or list of str, optional
    compare : sequence of str, optional
        Strategies side by side: ``scratch`` (all layers from random weights, at the rate of
        such, for the epochs of both stages), ``frozen`` (a linear classifier on the features
        before the classes), ``head``, ``partial`` (see `partial`), ``full`` (all layers). By
        default the one that the parameters say: the head, or all layers of random weights.
    partial : str, optional
        Layer from which ``partial`` trains; by default the last third of the layers with
        weights.
    labels : sequence of int, default=()
        Numbers of training pictures of each class for a curve by labels, besides all.
    train_per_class : int, optional
        Take so many training pictures of each class, others with each seed.
    seeds : int, default=1
        Repetitions with other heads, orders and validation pictures.
    random_state : int, default=0
        The first seed, and that of the division of data without folders.
    output : path, optional
        Folder for the network of the best strategy's first seed.
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
        A row for each strategy. ``details`` hold ``curves``, ``label_curves``, ``gains``,
        ``confusion``, ``per_class`` and ``mistakes``.

    Raises
    ------
    SpecError
        If a strategy or parameter is not known.
    """
    base = _check_parameters(model, parameters, is_alone=not compare)
    dataset, cache, progress, _ = open_session(
        data, domains=domains, store=store, progress=progress, **parameters
    )
    base["store"] = cache
    chosen = list(dict.fromkeys(compare)) if compare else [_strategy_of(base)]
    settings = {strategy: _settings(base, strategy, partial, compare) for strategy in chosen}
    if output is not None:
        _check_output(output, model, chosen, force=force, trust=base.get("trust"))
    notes = _say_of_scratch(parameters) if compare else _say_what_trains(base, parameters)
    for note in notes if not compare or "scratch" in chosen else ():
        progress.note(note)
    task = load_data_split(dataset, random_state=random_state, n_jobs=n_jobs)
    progress.note(f"{len(task.train):,} pictures to train on, {len(task.test):,} to test on "
                 f"({task.division})")  # fmt: skip
    task.check_per_class(labels, train_per_class)
    if len(chosen) > 1:
        _check_layers(task, settings)
    study = _Study(cache, checkpoint, progress)
    everything = Runs(task, model)
    curves: list[dict[str, Any]] = []
    for strategy in chosen:
        for seed in range(random_state, random_state + seeds):
            progress.note(f"{strategy}, seed {seed}")
            part = task.thinned(train_per_class, seed) if train_per_class else task
            everything.runs.append(study.run(part, strategy, settings[strategy], seed))
            curves += study.run_fewer(part, strategy, settings[strategy], seed, labels)
    rules = _protocol(base, task, seeds, random_state)
    rules |= {"n_train": everything.runs[0].n_train, "train_per_class": train_per_class}
    if "scratch" in (compare or ()):
        rules |= {"scratch_epochs": settings["scratch"]["epochs"], "scratch_lr": SCRATCH_LR}
    result = make_result(everything, rules, curves)
    if output is not None:
        best = next(run for s in everything.strategies for run in everything.of(s)
                    if run.classifier is not None)  # fmt: skip
        assert best.classifier is not None
        row = next(row for row in result.rows if row["spec"].endswith(f" {best.strategy}"))
        known = {**result.provenance, "protocol": result.protocol, "result": row}
        save_folder(best.classifier, output, provenance=known, force=force)
        result.sentences.append(f"The network ({best.strategy}) is in {output}.")
        result.sentences += _say_of_trust(model, output)
    remove_checkpoints(study.checkpoints)
    return result


def summarize_training(
    data: Any,
    model: Any = "featxnet",
    *,
    domains: Any = None,
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
    dataset = open_session(data, domains=domains).dataset
    classes = set() if dataset.labels is None else set(dataset.labels.tolist()) - {""}
    prepared = classifier.prepare(max(2, len(classes)), with_values=False)
    return [
        StageSummary(stage.name, stage.n_epochs, summarize(prepared, stage.plan))
        for stage in classifier.stages(prepared)
    ]


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
    from featx.networks.configs import list_layers

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


def _say_of_trust(model: Any, output: str | os.PathLike[str]) -> Iterator[str]:
    """How a folder is read whose network is the user's own code."""
    if is_callable_name(model):
        yield f"It names {model}, your own code: read it with --trust {output}."


def _check_layers(task: DataSplit, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Find every layer that a strategy names before the first of them trains for hours."""
    n_classes = len(set(task.part(task.train)[1]))
    for strategy, parameters in settings.items():
        if strategy != "frozen":
            classifier = FineTunedClassifier(**parameters)
            classifier.stages(classifier.prepare(n_classes, with_values=False))


class _Study:
    """What all runs share, and the checkpoints that they leave."""

    def __init__(
        self,
        store: FeatureStore | None,
        checkpoint: str | os.PathLike[str] | None,
        progress: ProgressCallback,
    ) -> None:
        self.store = store
        self.checkpoint = checkpoint
        self.progress = progress
        self.checkpoints: list[str] = []

    def run(self, task: DataSplit, strategy: str, settings: Mapping[str, Any], seed: int) -> Run:
        """A strategy on all training pictures of a task."""
        return self._run(task, strategy, settings, seed, self.progress)

    def run_fewer(
        self,
        task: DataSplit,
        strategy: str,
        settings: Mapping[str, Any],
        seed: int,
        labels: Sequence[int],
    ) -> list[dict[str, Any]]:
        """Accuracy with fewer training pictures of each class."""
        rows, truth = [], task.part(task.test)[1]
        for n in dict.fromkeys(labels):
            part = task.thinned(n, seed)
            if len(part.train) == len(task.train):
                continue  # That is the run with all.
            run = self._run(part, strategy, settings, seed, BarOnly(self.progress), f"-{n}")
            accuracy = float(np.mean(run.predicted == truth))
            rows.append({"name": strategy, "seed": seed, "n_labels": n, "accuracy": accuracy})
        return rows

    def _run(
        self,
        task: DataSplit,
        strategy: str,
        settings: Mapping[str, Any],
        seed: int,
        progress: ProgressCallback,
        suffix: str = "",
    ) -> Run:
        if strategy == "frozen":
            return _probe(task, seed, settings, self.store)
        folder = None
        if self.checkpoint is not None:
            folder = os.path.join(self.checkpoint, f"{strategy}-{seed}{suffix}")
            self.checkpoints.append(folder)
        classifier = FineTunedClassifier(**{**settings, "random_state": seed, "checkpoint": folder})
        images, labels = task.part(task.train)
        valid = task.part(task.valid) if len(task.valid) else None
        classifier.fit(
            images, labels, validation_data=valid, keep_checkpoint=True, progress=progress
        )
        stage = classifier.stages(classifier.prepared_)[-1]
        return Run(
            strategy,
            seed,
            shares=classifier.predict_proba(task.part(task.test)[0]),
            classes=classifier.classes_,
            seconds=classifier.seconds_,
            classifier=classifier,
            n_trainable=count_parameters(classifier.prepared_, stage.plan)["trainable"],
            n_train=len(task.train),
        )


def _probe(task: DataSplit, seed: int, settings: Mapping[str, Any], store: Any) -> Run:
    """A linear classifier on the averaged features before the classes."""
    from featx.extractors.cnn import CNNFeatures

    names = ("weights", "load", "size", "crop", "device", "trust")
    how = {name: settings[name] for name in names if settings.get(name) is not None}
    extractor = CNNFeatures(settings["model"], "-1", pooling="auto", **how)
    if extractor.get_params()["model"] is not None and _is_maps(extractor):
        extractor.set_params(pooling="gap")
    started = time.perf_counter()
    rows = {}
    for name, indices in (("train", task.train), ("test", task.test), ("valid", task.valid)):
        if len(indices):
            rows[name] = np.asarray(extract(task.dataset.take(indices), extractor, store=store).X)
    labels = task.part(task.train)[1]
    probe = LinearProbe(random_state=seed).fit(rows["train"], labels)
    seconds = time.perf_counter() - started
    if len(task.valid):
        valid_accuracy = probe.score(rows["valid"], task.part(task.valid)[1])
    else:
        share = FineTunedClassifier(**{**settings, "random_state": seed}).validation
        valid_accuracy = _left_out(probe, rows["train"], labels, share, seed)
    return Run(
        "frozen",
        seed,
        shares=probe.predict_proba(rows["test"]),
        classes=probe.classes_,
        seconds=seconds,
        n_trainable=int(probe.coef_.size + probe.intercept_.size),
        n_train=len(task.train),
        valid_accuracy=valid_accuracy,
    )


def _left_out(probe: LinearProbe, rows: Any, labels: Any, share: float, seed: int) -> float | None:
    """Accuracy on the pictures that a network with this seed is stopped by."""
    train, valid = divide(labels, share, seed)
    if not share or not len(valid):
        return None
    again = clone(probe).fit(rows[train], labels[train])
    return float(again.score(rows[valid], labels[valid]))


def _is_maps(extractor: Any) -> bool:
    from featx.networks.configs import list_layers

    layers = list_layers(extractor.model, size=extractor.size, trust=extractor.trust)
    return len(layers.find("-1").shape) == 3


def _protocol(
    base: Mapping[str, Any], task: DataSplit, seeds: int, random_state: int
) -> dict[str, Any]:
    settings = FineTunedClassifier(**base).get_params(deep=False)
    plain = {k: str(v) if k in ("model", "weights") else v for k, v in settings.items()}
    return {
        "splits": task.division,
        "n_train": len(task.train),
        "n_test": len(task.test),
        "seeds": list(range(random_state, random_state + seeds)),
        **{k: v for k, v in plain.items() if k not in _NOT_REPORTED},
    }
