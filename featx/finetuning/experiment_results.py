"""What fine-tuning found: runs of strategies -> the rows, sentences and details of a result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score

from featx.engine.provenance import provenance_of
from featx.evaluation.scores import bootstrap_interval, mcnemar, per_class
from featx.features.results import Result
from featx.finetuning.classifier import FineTunedClassifier
from featx.finetuning.data_split import DataSplit
from featx.finetuning.transfer_gains import curve_of, measure_gains, say_gains

N_MISTAKES = 24
_N_NAMED = 6


@dataclass
class Run:
    """One strategy with one seed.

    Parameters
    ----------
    strategy : str
    seed : int
    shares : ndarray of shape (n_test, n_classes)
        Probabilities of the test pictures.
    classes : ndarray of shape (n_classes,)
    seconds : float
        Of the training.
    classifier : FineTunedClassifier or None
        None for a linear classifier on frozen features.
    n_trainable : int
    n_train : int
    valid_accuracy : float, optional
        Of a linear classifier: on the pictures that a network with this seed is stopped by.
    """

    strategy: str
    seed: int
    shares: npt.NDArray[np.float64]
    classes: npt.NDArray[np.str_]
    seconds: float
    classifier: FineTunedClassifier | None = None
    n_trainable: int = 0
    n_train: int = 0
    valid_accuracy: float | None = None

    @property
    def history(self) -> list[dict[str, Any]]:
        """Numbers of each epoch; of a linear classifier the accuracy alone."""
        if self.classifier is not None:
            return self.classifier.history_
        return [] if self.valid_accuracy is None else [{"valid_acc": self.valid_accuracy}]

    @property
    def predicted(self) -> npt.NDArray[np.str_]:
        """Class that was said of each test picture."""
        return self.classes[self.shares.argmax(1)]


@dataclass
class Runs:
    """All runs on a task."""

    task: DataSplit
    model: Any
    runs: list[Run] = field(default_factory=list)

    @property
    def truth(self) -> npt.NDArray[np.str_]:
        """Classes of the test pictures."""
        return self.task.part(self.task.test)[1]

    def of(self, strategy: str) -> list[Run]:
        """Runs of one strategy, by seed."""
        return [run for run in self.runs if run.strategy == strategy]

    def is_right(self, strategy: str) -> npt.NDArray[np.bool_]:
        """Whether each test picture was told rightly, shape (n_seeds, n_test)."""
        return np.array([run.predicted == self.truth for run in self.of(strategy)])

    @property
    def strategies(self) -> list[str]:
        """Strategies, best first."""
        names = list(dict.fromkeys(run.strategy for run in self.runs))
        return sorted(names, key=lambda name: -float(self.is_right(name).mean()))


def make_result(
    everything: Runs, protocol: dict[str, Any], label_rows: list[dict[str, Any]]
) -> Result:
    """The result of all runs, best strategy first.

    Parameters
    ----------
    everything : Runs
    protocol : dict
    label_rows : list of dict
        ``name``, ``seed``, ``n_labels``, ``accuracy`` of runs on fewer pictures.
    """
    rows = [_row(everything, strategy) for strategy in everything.strategies]
    curves = [
        curve_of(run.strategy, run.seed, run.history, is_level=run.classifier is None)
        for run in everything.runs
        if run.history
    ]
    gains = measure_gains(curves)
    classifier = next((run.classifier for run in everything.runs if run.classifier), None)
    notes = [] if classifier is None else classifier.notes_
    details = {
        "curves": curves,
        "label_curves": _label_curves(label_rows, everything),
        "gains": gains,
        "notes": notes,
        "tensors": {} if classifier is None else asdict(classifier.report_),
        **_details(everything),
    }
    source = everything.task.dataset.source
    sentences = _sentences(rows, everything) + say_gains(gains)
    if "scratch" in everything.strategies and len(everything.strategies) > 1 and not gains:
        sentences.append("No gains over scratch by epoch: no pictures were left out to stop by.")
    return Result(
        "finetune",
        source,
        rows,
        protocol,
        sentences,
        everything.task.failures,
        details,
        provenance_of([], source, None),
    )


def _row(everything: Runs, strategy: str) -> dict[str, Any]:
    runs, right, truth = everything.of(strategy), everything.is_right(strategy), everything.truth
    accuracy, low, high = bootstrap_interval(right.mean(0))
    balanced = bootstrap_interval(right.mean(0), truth)
    best = everything.is_right(everything.strategies[0])
    test = mcnemar(right.ravel(), best.ravel())
    is_best = strategy == everything.strategies[0]
    indices = np.searchsorted(runs[0].classes, truth)
    rows = np.arange(len(truth))
    losses = [-np.log(np.maximum(run.shares[rows, indices], 1e-12)).mean() for run in runs]
    return {
        "spec": f"{everything.model} {strategy}",
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "balanced_accuracy": balanced.mean,
        "balanced_low": balanced.low,
        "balanced_high": balanced.high,
        "macro_f1": float(np.mean([f1_score(truth, r.predicted, average="macro") for r in runs])),
        "log_loss": float(np.mean(losses)),
        "difference": None if is_best else test.difference,
        "difference_low": None if is_best else test.low,
        "difference_high": None if is_best else test.high,
        "p_value": None if is_best else test.p_value,
        "is_tied": None if is_best else test.is_tied,
        "is_control": strategy == "scratch",
        "n_trainable": runs[0].n_trainable,
        "n_seeds": len(runs),
        "accuracies": [float(value) for value in right.mean(1)],
        "train_seconds": float(np.mean([run.seconds for run in runs])),
    }


def _label_curves(rows: list[dict[str, Any]], everything: Runs) -> list[dict[str, Any]]:
    """Accuracy by number of training pictures of each class, one curve a strategy and seed."""
    if not rows:
        return []
    curves = []
    for run in everything.runs:
        own = [r for r in rows if (r["name"], r["seed"]) == (run.strategy, run.seed)]
        full = float(np.mean(run.predicted == everything.truth))
        n_all = round(run.n_train / len(run.classes))
        points = sorted([(r["n_labels"], r["accuracy"]) for r in own] + [(n_all, full)])
        curves.append(
            {
                "name": run.strategy,
                "seed": run.seed,
                "n_labels": [n for n, _ in points],
                "accuracy": [accuracy for _, accuracy in points],
            }
        )
    return curves


def _details(everything: Runs) -> dict[str, Any]:
    """Confusion, classes and surest mistakes of each strategy, over all its seeds."""
    truth = everything.truth
    paths = np.array([everything.task.dataset.names[i] for i in everything.task.test])
    details: dict[str, Any] = {"confusion": {}, "per_class": {}, "mistakes": {}}
    for strategy in everything.strategies:
        runs = everything.of(strategy)
        spec = f"{everything.model} {strategy}"
        said = np.concatenate([run.predicted for run in runs])
        true = np.tile(truth, len(runs))
        classes = np.unique(np.concatenate([true, said]))
        matrix = np.zeros((len(classes), len(classes)), int)
        np.add.at(matrix, (np.searchsorted(classes, true), np.searchsorted(classes, said)), 1)
        details["confusion"][spec] = {"classes": classes.tolist(), "matrix": matrix.tolist()}
        details["per_class"][spec] = per_class(true, said)
        details["mistakes"][spec] = _mistakes(runs[0], truth, paths)
    return details


def _mistakes(run: Run, truth: Any, paths: Any) -> list[dict[str, Any]]:
    """Pictures that the first seed got wrong, the surest first."""
    sure = run.shares.max(1)
    wrong = [i for i in np.argsort(-sure) if run.predicted[i] != truth[i]][:N_MISTAKES]
    return [
        {
            "path": str(paths[i]),
            "true": str(truth[i]),
            "predicted": str(run.predicted[i]),
            "probability": float(sure[i]),
        }
        for i in wrong
    ]


def _sentences(rows: list[dict[str, Any]], everything: Runs) -> list[str]:
    """The best, those behind it, and the proof of what was frozen."""
    best = rows[0]
    n, seeds = len(everything.truth), best["n_seeds"]
    said = [
        f"{best['spec']}: {best['accuracy']:.1%} [{best['low']:.1%}, {best['high']:.1%}] of {n} "
        f"pictures left out, {seeds} seed{'s' * (seeds > 1)}."
    ]
    for row in rows[1:]:
        word = "no different from it" if row["is_tied"] else "behind it"
        said.append(
            f"{row['spec']}: {row['accuracy']:.1%}, {word} ({row['difference']:+.1%}, McNemar's "
            f"p = {row['p_value']:.2g} over all seeds)."
        )
    said += _tensor_sentences(everything)
    for run in everything.runs:
        if run.classifier is not None and run.seed == everything.runs[0].seed:
            freeze_checks = run.classifier.freeze_checks_.items()
            said += [
                f"{run.strategy}, stage {stage}: {freeze_check}."
                for stage, freeze_check in freeze_checks
                if freeze_check.n_values
            ]
    return said


def _tensor_sentences(everything: Runs) -> list[str]:
    """What became of the weights, by name where only a part was asked for."""
    fitted = [run for run in everything.runs if run.classifier is not None]
    run = next((run for run in fitted if run.classifier.report_.loaded), None)  # type: ignore[union-attr]
    if run is None or run.classifier is None:
        return []
    report = run.classifier.report_
    lists = {
        "loaded": report.loaded,
        "renamed": [f"{old} -> {new}" for old, new in report.renamed.items()],
        "left out": report.skipped,
        "new": list(report.new),
    }
    if run.classifier.load is None:
        told = [_told(word, names) for word, names in lists.items() if names]
        return [f"Tensors of the weights: {'; '.join(told)}."]
    return [f"Tensors {word}: {', '.join(names) or 'none'}." for word, names in lists.items()]


def _told(word: str, names: list[str]) -> str:
    """How many, and the first few by name but where all is as it should be."""
    more = " …" if len(names) > _N_NAMED else ""
    which = "" if word == "loaded" else f" ({', '.join(names[:_N_NAMED])}{more})"
    return f"{len(names)} {word}{which}"
