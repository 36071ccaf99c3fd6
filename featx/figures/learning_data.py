"""Learning curves, prepared once for the figure and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.features.results import Result

_CURVES = {"epoch": "curves", "n_labels": "label_curves"}
"""What is on the horizontal axis, and where a result has the curves along it."""

_MEASURES = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "accuracy")


@dataclass(frozen=True)
class LearningRun:
    """One training run: its strategy, and a measure at each step; None where not measured."""

    name: str
    seed: Any
    steps: tuple[int, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class LearningPanel:
    """One measure of all runs that have it.

    Attributes
    ----------
    x : {"epoch", "n_labels"}
        What the steps are; `n_labels` counts training images per class.
    measure : str
    runs : tuple of LearningRun
    means : dict of str to tuple
        Strategy -> steps, and the mean over its runs at each.
    levels : dict of str to float
        Mean of each strategy that does not train and so has no curve.
    """

    x: str
    measure: str
    runs: tuple[LearningRun, ...]
    means: Mapping[str, tuple[Sequence[int], Sequence[float]]]
    levels: Mapping[str, float]

    @property
    def has_seeds(self) -> bool:
        """Whether a strategy was run more than once."""
        return len(self.runs) > len(self.means)


@dataclass(frozen=True)
class LearningData:
    """Panels, and the strategies in the order in which all of them give out colors."""

    names: tuple[str, ...]
    panels: tuple[LearningPanel, ...]

    def panel(self, x: str, measure: str) -> LearningPanel | None:
        """The panel of a measure along `x`, None where no run has it."""
        return next((p for p in self.panels if (p.x, p.measure) == (x, measure)), None)


def prepare_learning(result: Result) -> LearningData:
    """Curves by epoch and by number of training images per class.

    Examples
    --------
    >>> runs = [
    ...     {"name": "full", "epoch": [1, 2], "valid_accuracy": [0.5, 0.75]},
    ...     {"name": "full", "epoch": [1], "valid_accuracy": [0.25]},
    ... ]
    >>> data = prepare_learning(Result("finetune", "photos", [], details={"curves": runs}))
    >>> data.panel("epoch", "valid_accuracy").means
    {'full': ([1, 2], [0.375, 0.5])}
    """
    curves = {x: result.details.get(name) or [] for x, name in _CURVES.items()}
    names = dict.fromkeys(_name(curve) for group in curves.values() for curve in group)
    panels = (panel for x, group in curves.items() for panel in _panels(group, x))
    return LearningData(tuple(names), tuple(panels))


def _panels(curves: Sequence[Mapping[str, Any]], x: str) -> Iterator[LearningPanel]:
    for measure in _MEASURES:
        measured = [curve for curve in curves if _has_values(curve, measure)]
        if measured:
            runs = tuple(_run(curve, measure, x) for curve in measured)
            fixed = [run for run, curve in zip(runs, measured) if curve.get("is_level")]
            yield LearningPanel(
                x=x,
                measure=measure,
                runs=runs,
                means=_mean_curves(runs),
                levels={name: ys[0] for name, (_, ys) in _mean_curves(fixed).items()},
            )


def _name(curve: Mapping[str, Any]) -> str:
    return str(curve.get("name", ""))


def _has_values(curve: Mapping[str, Any], measure: str) -> bool:
    return any(value is not None for value in curve.get(measure) or ())


def _run(curve: Mapping[str, Any], measure: str, x: str) -> LearningRun:
    values = tuple(curve[measure])
    steps = tuple(curve.get(x) or range(1, 1 + len(values)))
    return LearningRun(_name(curve), curve.get("seed", "?"), steps, values)


def _mean_curves(runs: Sequence[LearningRun]) -> dict[str, tuple[list[int], list[float]]]:
    """Mean over the runs of each strategy.

    A run that stopped early keeps its last value, so that the mean is always over all runs.
    """
    points: dict[str, list[dict[int, float]]] = {}
    for run in runs:
        values = {
            step: float(value)
            for step, value in zip(run.steps, run.values, strict=False)
            if value is not None
        }
        if values:
            points.setdefault(run.name, []).append(values)
    return {name: _mean_curve(curves) for name, curves in points.items()}


def _mean_curve(runs: Sequence[Mapping[int, float]]) -> tuple[list[int], list[float]]:
    steps = sorted(set().union(*runs))
    so_far = [[[y for x, y in run.items() if x <= step] for run in runs] for step in steps]
    return steps, [float(np.mean([ys[-1] for ys in values if ys])) for values in so_far]
