"""Runs of strategies -> the rows, sentences and details of a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from featx._files import to_plain
from featx.engine.provenance import provenance_of
from featx.evaluation.candidates import Candidates
from featx.evaluation.comparison import (
    Measured,
    describe_predictions,
    describe_protocol,
    make_rows,
)
from featx.evaluation.protocols import Protocol
from featx.evaluation.recommendations import list_warnings
from featx.features.results import Result
from featx.finetuning.classifier import FineTunedClassifier
from featx.finetuning.strategy_runs import StrategyRun
from featx.finetuning.transfer_gains import describe_gains, measure_gains

_N_NAMED = 6
_NOT_REPORTED = ("store", "checkpoint", "random_state", "trust")


def make_result(runs: Sequence[StrategyRun], candidates: Candidates, rules: Protocol) -> Result:
    """The result of all runs, best strategy first.

    Parameters
    ----------
    runs : sequence of StrategyRun
    candidates : Candidates
        The images and their splits.
    rules : Protocol
    """
    measured = [Measured(run.kind, run.scores) for run in runs]
    candidates = replace(candidates, kinds=[run.kind for run in runs])
    by_spec = {run.kind.spec: run for run in runs}
    rows = [{**row, **_training(by_spec[row["spec"]])} for row in make_rows(measured, rules.metric)]
    curves = [curve for run in runs for curve in run.curves]
    gains = measure_gains(curves)
    classifiers = [run.classifier for run in runs if run.classifier is not None]
    details = {
        "curves": curves,
        "label_curves": [curve for run in runs for curve in run.label_curves],
        "gains": gains,
        "notes": classifiers[0].notes_ if classifiers else [],
        "tensors": asdict(classifiers[0].report_) if classifiers else {},
        **describe_predictions(measured, candidates),
    }
    sentences = [
        *_sentences(rows, by_spec, rules),
        *list_warnings(candidates, rows, rules),
        *_tensor_sentences(classifiers),
        *_freeze_sentences(runs),
        *describe_gains(gains),
    ]
    if len(runs) > 1 and any(run.strategy == "scratch" for run in runs) and not gains:
        sentences.append(
            "No gains over scratch by epoch: no images were held out for early stopping."
        )
    provenance = {
        **provenance_of([], candidates.dataset, None),
        "extractors": list(map(_settings, runs)),
    }
    return Result(
        "finetune",
        candidates.dataset.source,
        rows,
        describe_protocol(rules, candidates),
        sentences,
        candidates.failures,
        details,
        provenance,
    )


def _training(run: StrategyRun) -> dict[str, Any]:
    """Columns of fine-tuning that features do not have."""
    return {
        "n_trainable": run.n_trainable,
        "n_seeds": len(run.seeds),
        "accuracies": [float(part.is_right.mean()) for part in run.scores.predictions],
    }


def _settings(run: StrategyRun) -> dict[str, Any]:
    """Settings of a strategy, in the form of an extractor's settings."""
    classifier = run.kind.extractor
    plain = {
        name: str(value) if name in ("model", "weights") else value
        for name, value in classifier.get_params(deep=False).items()
        if name not in _NOT_REPORTED
    }
    return {"name": run.kind.spec, "spec": run.kind.spec, "settings": to_plain(plain)}


def _sentences(
    rows: list[dict[str, Any]], runs: dict[str, StrategyRun], rules: Protocol
) -> list[str]:
    """The best strategy and its differences from the others."""
    best, *others = rows
    scores = runs[best["spec"]].scores
    n_tested = len(np.unique(np.concatenate([part.indices for part in scores.predictions])))
    low, high = ("low", "high") if rules.metric == "accuracy" else ("balanced_low", "balanced_high")
    counts = [(len(scores.accuracies), "split"), (scores.n_seeds, "seed")]
    of = ", ".join(f"{n} {unit}{'s' * (n > 1)}" for n, unit in counts)
    sentences = [
        f"{best['spec']}: {best[rules.metric]:.1%} [{best[low]:.1%}, {best[high]:.1%}] of "
        f"{n_tested:,} held-out images, {of}."
    ]
    for row in others:
        relation = "no different from it" if row["is_tied"] else "behind it"
        sentences.append(
            f"{row['spec']}: {row[rules.metric]:.1%}, {relation} ({0 - row['difference']:+.1%}, "
            f"p = {row['p_value']:.2g} by the paired test)."
        )
    return sentences


def _freeze_sentences(runs: Sequence[StrategyRun]) -> list[str]:
    """Freeze checks of the first run of each strategy."""
    return [
        f"{run.strategy}, stage {stage}: {freeze_check}."
        for run in runs
        if run.classifier is not None
        for stage, freeze_check in run.classifier.freeze_checks_.items()
        if freeze_check.n_values
    ]


def _tensor_sentences(classifiers: Sequence[FineTunedClassifier]) -> list[str]:
    """Which tensors were loaded, by name if `load` selects a part."""
    classifier = next((model for model in classifiers if model.report_.loaded), None)
    if classifier is None:
        return []
    report = classifier.report_
    lists = {
        "loaded": report.loaded,
        "renamed": [f"{old} -> {new}" for old, new in report.renamed.items()],
        "skipped": report.skipped,
        "new": list(report.new),
    }
    if classifier.load is None:
        counts = [_count_tensors(kind, names) for kind, names in lists.items() if names]
        return [f"Tensors of the weights: {'; '.join(counts)}."]
    return [f"Tensors {kind}: {', '.join(names) or 'none'}." for kind, names in lists.items()]


def _count_tensors(kind: str, names: list[str]) -> str:
    """Number of tensors, and the names of the first unless they were simply loaded."""
    more = " …" if len(names) > _N_NAMED else ""
    listed = "" if kind == "loaded" else f" ({', '.join(names[:_N_NAMED])}{more})"
    return f"{len(names)} {kind}{listed}"
