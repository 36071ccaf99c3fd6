"""What ``featx finetune`` does: strategies on pictures, measured on pictures left out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from featx.errors import SpecError
from featx.extraction import extract
from featx.finetuning.augmentation import Augmentation
from featx.finetuning.checkpoints import remove_checkpoints
from featx.finetuning.findings import Run, Runs, make_result
from featx.finetuning.folders import check_folder, save_folder
from featx.finetuning.heads import parse_sizes
from featx.finetuning.summary import count_parameters
from featx.finetuning.tasks import Task, load_task
from featx.finetuning.training import FineTunedClassifier, divide, what_trains
from featx.probing.linear import LinearProbe
from featx.results import Result
from featx.store import FeatureStore, open_store
from featx.watching import Watcher

LATER = ("epochs", "lr", "rates", "layer_decay")
"""Parameters of the stage after the head's."""

EARLIER = ("head_epochs", "head_lr")
"""Parameters of the head's stage, which random weights have not."""

STRATEGIES = ("scratch", "frozen", "head", "partial", "full")


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
    watcher: Watcher | None = None,
    **parameters: Any,
) -> Result:
    """Fine-tune a network on pictures, and measure it on pictures that were left out.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        As in `featx.finetuning.tasks.load_task`.
    model : str, path or torch.nn.Module, default="featxnet"
    domains : bool or list of str, optional
    compare : sequence of str, optional
        Strategies side by side: ``scratch`` (all layers from random weights, for the epochs of
        both stages), ``frozen`` (a linear classifier on the features before the classes),
        ``head``, ``partial`` (see `partial`), ``full`` (all layers). By default the one that
        the parameters say: the head, or all layers where the weights are random.
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
    store, n_jobs, watcher
        As in `featx.extract`.
    **parameters
        Of `featx.finetuning.training.FineTunedClassifier`.

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
    watcher = watcher or Watcher()
    if output is not None:
        check_folder(output, force=force)
    cache = FeatureStore() if store == "default" else open_store(store)
    base = check_parameters(model, parameters, is_alone=not compare) | {"store": cache}
    for note in say_what_trains(base, parameters) if not compare else ():
        watcher.note(note)
    task = load_task(data, domains=domains, random_state=random_state, n_jobs=n_jobs)
    watcher.note(f"{len(task.train):,} pictures to train on, {len(task.test):,} to test on "
                 f"({task.division})")  # fmt: skip
    task.check_per_class([*labels, *([train_per_class] if train_per_class else [])])
    everything = Runs(task, model)
    chosen = [_strategy_of(base)] if not compare else list(compare)
    curves: list[dict[str, Any]] = []
    for strategy in chosen:
        for seed in range(random_state, random_state + seeds):
            place = None if checkpoint is None else os.path.join(checkpoint, f"{strategy}-{seed}")
            settings = _settings(base, strategy, partial, compare) | {"checkpoint": place}
            watcher.note(f"{strategy}, seed {seed}")
            part = task.thinned(train_per_class, seed) if train_per_class else task
            everything.runs.append(_run(part, strategy, seed, settings, cache, watcher))
            curves += _label_runs(part, strategy, seed, settings, cache, labels)
    rules = _protocol(base, task, seeds, random_state) | {"train_per_class": train_per_class}
    if "scratch" in (compare or ()):
        rules["scratch_epochs"] = _settings(base, "scratch", partial, compare)["epochs"]
    result = make_result(everything, rules, curves)
    if output is not None:
        best = next(run for s in everything.strategies for run in everything.of(s)
                    if run.classifier is not None)  # fmt: skip
        assert best.classifier is not None
        row = next(row for row in result.rows if row["spec"].endswith(f" {best.strategy}"))
        known = {**result.provenance, "protocol": result.protocol, "result": row}
        save_folder(best.classifier, output, provenance=known, force=force)
        result.sentences.append(f"The network ({best.strategy}) is in {output}.")
    if checkpoint is not None:
        remove_checkpoints(checkpoint)
    return result


def check_parameters(
    model: Any, parameters: Mapping[str, Any], *, is_alone: bool = True
) -> dict[str, Any]:
    """Parameters of the classifier, checked; all layers train where none has learned yet.

    Parameters
    ----------
    model : str, path or torch.nn.Module
    parameters : mapping
        Of `featx.finetuning.training.FineTunedClassifier`.
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
    if is_alone:
        base.setdefault("train", what_trains(base.get("weights")))
    made = FineTunedClassifier(**base)
    try:
        made._validate_params()
    except ValueError as error:  # Of scikit-learn.
        raise SpecError(" ".join(str(error).split())) from error
    Augmentation.parse(made.augment, flip=made.flip)
    parse_sizes(made.hidden)
    return base


def say_what_trains(base: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """What a user may not expect of what was given.

    Parameters
    ----------
    base : mapping
        What `check_parameters` gave.
    given : mapping
        What it was given.
    """
    is_head = base.get("train", "head") == "head"
    is_random = base.get("weights") == "random"
    if is_random and "train" not in given:
        yield "Weights are random: all layers train. --train head trains the new classes alone."
    idle = [name for name in LATER if is_head and name in given]
    if idle:
        yield (
            f"note: {', '.join(idle)} concern what trains after the head, and only the head does; "
            "add --train all or --train-from LAYER."
        )
    idle = [name for name in EARLIER if is_random and not is_head and name in given]
    if idle:
        yield (
            f"note: {', '.join(idle)} concern a head alone, and random weights train all at once; "
            "give epochs and lr."
        )


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
    if strategy not in STRATEGIES:
        raise SpecError(f"Strategy {strategy!r} is not one of {', '.join(STRATEGIES)}.")
    if strategy == "scratch":
        made = FineTunedClassifier(**base)  # As many epochs as two stages have together.
        n_epochs = made.head_epochs + made.epochs
        whole = {"weights": "random", "load": None, "train": "all", "epochs": n_epochs}
        return {**base, **whole}
    if strategy == "partial":
        return {**base, "train": partial or _last_third(base)}
    return {**base, "train": "all" if strategy == "full" else "head"}


def _last_third(base: Mapping[str, Any]) -> str:
    """Name of the layer where the last third of the layers with weights begins."""
    from featx.finetuning.heads import WEIGHTED
    from featx.models import list_layers

    weighted = [
        layer
        for layer in list_layers(base["model"], size=base.get("size"), crop=base.get("crop"))
        if layer.kind in WEIGHTED
    ]
    layer = weighted[2 * len(weighted) // 3]
    return layer.alias or layer.node


def _run(
    task: Task, strategy: str, seed: int, settings: Mapping[str, Any], store: Any, watcher: Watcher
) -> Run:
    images, labels = task.part(task.train)
    tests, _ = task.part(task.test)
    if strategy == "frozen":
        return _probe(task, seed, settings, store)
    classifier = FineTunedClassifier(**{**settings, "random_state": seed})
    valid = task.part(task.valid) if len(task.valid) else None
    classifier.fit(images, labels, validation_data=valid, keep_checkpoint=True, watcher=watcher)
    stage = classifier.stages(classifier.prepared_)[-1]
    n_trainable = count_parameters(classifier.prepared_, stage.plan)["trainable"]
    shares = classifier.predict_proba(tests)
    return Run(
        strategy,
        seed,
        shares,
        classifier.classes_,
        classifier.seconds_,
        classifier,
        n_trainable,
        len(task.train),
    )


def _probe(task: Task, seed: int, settings: Mapping[str, Any], store: Any) -> Run:
    """A linear classifier on the averaged features before the classes."""
    from featx.extractors.cnn import CNNFeatures

    names = ("weights", "load", "size", "crop", "device")
    how = {name: settings[name] for name in names if settings.get(name) is not None}
    extractor = CNNFeatures(settings["model"], "-1", pooling="auto", **how)
    if extractor.get_params()["model"] is not None and _is_maps(extractor):
        extractor.set_params(pooling="gap")
    started = time.perf_counter()
    rows = {}
    for name, places in (("train", task.train), ("test", task.test), ("valid", task.valid)):
        if len(places):
            rows[name] = np.asarray(extract(task.dataset.take(places), extractor, store=store).X)
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
        probe.predict_proba(rows["test"]),
        probe.classes_,
        seconds,
        None,
        int(probe.coef_.size + probe.intercept_.size),
        len(task.train),
        valid_accuracy,
    )


def _left_out(probe: LinearProbe, rows: Any, labels: Any, share: float, seed: int) -> float | None:
    """Accuracy on the pictures that a network with this seed is stopped by."""
    if not share:
        return None
    train, valid = divide(labels, share, seed)
    again = clone(probe).fit(rows[train], labels[train])
    return float(again.score(rows[valid], labels[valid]))


def _is_maps(extractor: Any) -> bool:
    from featx.models import list_layers

    size = extractor.get_params()["size"]
    return len(list_layers(extractor.model, size=size).find("-1").shape) == 3


def _label_runs(
    task: Task,
    strategy: str,
    seed: int,
    settings: Mapping[str, Any],
    store: Any,
    labels: Sequence[int],
) -> list[dict[str, Any]]:
    """Accuracy with fewer training pictures of each class."""
    rows = []
    truth = task.part(task.test)[1]
    for n in labels:
        part = task.thinned(n, seed)
        place = None if settings["checkpoint"] is None else f"{settings['checkpoint']}-{n}"
        run = _run(part, strategy, seed, {**settings, "checkpoint": place}, store, Watcher())
        accuracy = float(np.mean(run.predicted == truth))
        rows.append({"name": strategy, "seed": seed, "n_labels": n, "accuracy": accuracy})
    return rows


def _protocol(base: Mapping[str, Any], task: Task, seeds: int, random_state: int) -> dict[str, Any]:
    settings = FineTunedClassifier(**base).get_params(deep=False)
    plain = {k: str(v) if k in ("model", "weights") else v for k, v in settings.items()}
    return {
        "splits": task.division,
        "n_train": len(task.train),
        "n_test": len(task.test),
        "seeds": list(range(random_state, random_state + seeds)),
        **{k: v for k, v in plain.items() if k not in ("store", "checkpoint", "random_state")},
    }
