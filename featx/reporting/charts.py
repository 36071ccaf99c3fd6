"""Plots of a result's rows: accuracy against cost, curves against depth, curves of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featx.columns import cost_names, depth_columns, find_column
from featx.finetuning.gains import has_values, levels_of, mean_curves
from featx.reporting.palettes import UNKNOWN_COLOR, color_of
from featx.reporting.plots import add_tip, empty_plot, name_ticks
from featx.reporting.wording import column_label, number, plot_label

if TYPE_CHECKING:
    from bokeh.plotting import figure

Row = dict[str, Any]

WIDTH_PX, CHARACTER_PX = 1050, 6.4
"""Of a plot on a laptop and of a letter in it, to tell which names run over each other."""

CONTROLS = {"shuffled": ("dashed", UNKNOWN_COLOR), "random": ("dotted", color_of(5))}


def cost_chart(
    rows: Sequence[Row], key: str, names: Mapping[str, str] | None = None
) -> tuple[figure, str] | None:
    """Accuracy against what it costs, with intervals, and the name of the cost.

    Parameters
    ----------
    rows : sequence of dict
    key : str
        Tells this plot from others on the page.
    names : mapping of str to str, optional
        What to call a SPEC.

    Returns
    -------
    (Bokeh figure, str) or None
        None where fewer than two rows say both.
    """
    cost = next((name for name in cost_names() if _n_with(rows, "accuracy", name) > 1), None)
    if cost is None:
        return None
    from bokeh.models import ColumnDataSource, LogTicker, NumeralTickFormatter

    known = [
        {**row, "name": (names or {}).get(row.get("spec", ""), row.get("spec", ""))}
        for row in rows
        if row.get("accuracy") is not None and (row.get(cost) or 0) > 0
    ]
    source = ColumnDataSource(_cost_columns(known, cost))
    plot = empty_plot(
        f"figure-cost-{key}",
        x_axis_type="log",
        x_range=_log_range([row[cost] for row in known]),
        x_axis_label=column_label(cost),
        y_axis_label="Accuracy",
        height=380,
    )
    plot.yaxis.formatter = _percent()
    plot.xaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=8)
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    plot.segment("x", "low", "x", "high", source=source, color="color", line_width=1.5, alpha=0.6)
    dots = plot.scatter(
        "x", "y", source=source, color="color", marker="shape", size=11, fill_alpha=0.9
    )
    add_tip(plot, dots, [("", "@spec"), ("Accuracy", "@tip"), (column_label(cost), "@cost")])
    _name_the_best(plot, known, cost)
    return plot, column_label(cost)


def _cost_columns(rows: Sequence[Row], cost: str) -> dict[str, list[Any]]:
    accuracy = [row["accuracy"] for row in rows]
    return {
        "x": [row[cost] for row in rows],
        "y": accuracy,
        "low": [_or(row.get("low"), row["accuracy"]) for row in rows],
        "high": [_or(row.get("high"), row["accuracy"]) for row in rows],
        "spec": [plot_label(row["name"]) for row in rows],
        "tip": [_share(row["accuracy"], row.get("low"), row.get("high")) for row in rows],
        "cost": [number(row[cost]) for row in rows],
        "color": [UNKNOWN_COLOR if row.get("is_control") else color_of(0) for row in rows],
        "shape": ["diamond" if row.get("is_control") else "circle" for row in rows],
    }


def pareto_front(rows: Sequence[Row], cost: str) -> list[Row]:
    """Rows than which none is both cheaper and better, the cheapest first.

    Examples
    --------
    >>> rows = [{"accuracy": a, "ms": m} for a, m in [(0.5, 1), (0.4, 2), (0.9, 3)]]
    >>> [row["ms"] for row in pareto_front(rows, "ms")]
    [1, 3]
    """
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row[cost], -row["accuracy"])):
        if not front or row["accuracy"] > front[-1]["accuracy"]:
            front.append(row)
    return front


def _name_the_best(plot: figure, rows: Sequence[Row], cost: str) -> None:
    """Names beside the rows that no other beats; the rest say theirs under the mouse.

    To the right and below, or to the left and above: where the step line never runs.
    """
    from bokeh.models import ColumnDataSource, LabelSet

    front = pareto_front(rows, cost)
    costs = sorted(row[cost] for row in rows)
    middle = (costs[0] * costs[-1]) ** 0.5
    named = _apart(front, rows, cost, middle)
    for is_left in (True, False):
        side = [row for row in named if (row[cost] <= middle) == is_left]
        source = ColumnDataSource(
            {
                "x": [row[cost] for row in side],
                "y": [row["accuracy"] for row in side],
                "text": [plot_label(row["name"]) for row in side],
            }
        )
        labels = LabelSet(
            x="x",
            y="y",
            text="text",
            source=source,
            x_offset=10 if is_left else -10,
            y_offset=-17 if is_left else 5,
            text_align="left" if is_left else "right",
            text_font_size="11.5px",
            name="ink-text",
        )
        plot.add_layout(labels)
    plot.step(
        [row[cost] for row in front],
        [row["accuracy"] for row in front],
        mode="after",
        color=color_of(0),
        alpha=0.35,
        line_width=1.5,
        level="underlay",
    )


def _apart(front: Sequence[Row], rows: Sequence[Row], cost: str, middle: float) -> list[Row]:
    """Of the rows to name those whose names do not run over each other, the best first."""
    low, high = _log_range([row[cost] for row in rows])
    scores = [row["accuracy"] for row in rows]
    span = (max(scores) - min(scores)) or 1.0
    taken: list[tuple[float, float, float]] = []
    kept = []
    for row in reversed(front):
        x = WIDTH_PX * math.log(row[cost] / low) / math.log(high / low)
        width = CHARACTER_PX * len(str(row["name"])) + 10
        is_left = row[cost] <= middle
        start = x if is_left else x - width
        y = 300 * row["accuracy"] / span + (-10 if is_left else 12)
        if all(
            abs(y - other) > 14 or start > end or start + width < begin
            for begin, end, other in taken
        ):
            taken.append((start, start + width, y))
            kept.append(row)
    return kept


def depth_charts(rows: Sequence[Row], key: str) -> dict[str, figure]:
    """Each measure against depth, with its interval and its controls.

    Parameters
    ----------
    rows : sequence of dict
        One a layer, with ``layer`` and ``index``.
    key : str

    Returns
    -------
    dict of str to Bokeh figure
        By the measure's name; without those that fewer than two layers have.
    """
    layered = sorted(
        (row for row in rows if row.get("layer") and row.get("index") is not None),
        key=lambda row: row["index"],
    )
    names = [column.name for column in depth_columns()]
    return {name: _depth_chart(layered, name, key) for name in names if _n_with(layered, name) > 1}


def _depth_chart(rows: Sequence[Row], name: str, key: str) -> figure:
    from bokeh.models import ColumnDataSource

    layers = [plot_label(row["layer"]) for row in rows]
    plot = empty_plot(f"figure-depth-{name}-{key}", height=260)
    name_ticks(plot.xaxis, layers)
    plot.xgrid.visible = False
    low, high = find_column(name).bounds
    values = [row.get(name) for row in rows]
    columns: dict[str, list[Any]] = {
        "x": list(range(len(rows))),
        "layer": layers,
        "y": values,
        "low": [_or(row.get(low), row.get(name)) for row in rows],
        "high": [_or(row.get(high), row.get(name)) for row in rows],
        "tip": [_interval_text(row, name, low, high) for row in rows],
        **{control: [row.get(f"{name}_{control}") for row in rows] for control in CONTROLS},
    }
    source = ColumnDataSource({column: _nan(values) for column, values in columns.items()})
    _add_controls(plot, source, columns)
    plot.varea("x", "low", "high", source=source, color=color_of(0), alpha=0.18)
    plot.line("x", "y", source=source, color=color_of(0), line_width=2.5)
    dots = plot.scatter("x", "y", source=source, color=color_of(0), size=7)
    add_tip(plot, dots, [("", "@layer"), (column_label(name), "@tip")])
    if find_column(name).unit == "share":
        plot.yaxis.formatter = _percent()
    return plot


def _add_controls(plot: figure, source: Any, columns: dict[str, list[Any]]) -> None:
    for control, (dash, color) in CONTROLS.items():
        if any(value is not None for value in columns[control]):
            plot.line("x", control, source=source, line_dash=dash, color=color, line_width=2)
            plot.scatter("x", control, source=source, color=color, size=4)


def transfer_chart(
    rows: Sequence[Row], key: str, names: Mapping[str, str] | None = None
) -> figure | None:
    """Accuracy within the source beside that on the target, averages over all pairs.

    Parameters
    ----------
    rows : sequence of dict
    key : str
    names : mapping of str to str, optional
        What to call a SPEC.
    """
    means = [row for row in rows if row.get("source") == row.get("target") == "mean"]
    means = [row for row in means if _n_with([row], "source_accuracy", "target_accuracy")]
    if not means:
        return None
    from bokeh.models import ColumnDataSource

    source = ColumnDataSource(_transfer_columns(means, names or {}))
    plot = empty_plot(
        f"figure-transfer-{key}",
        height=110 + 34 * len(means),
        x_axis_label="Accuracy",
        y_range=(len(means) - 0.4, -0.6),
    )
    name_ticks(plot.yaxis, source.data["name"], longest=44)
    plot.yaxis.major_label_orientation = "horizontal"
    plot.ygrid.visible = False
    plot.xaxis.formatter = _percent()
    plot.segment("source", "y", "target", "y", source=source, color=UNKNOWN_COLOR, line_width=2)
    plot.segment("low", "y", "high", "y", source=source, color=color_of(5), line_width=7, alpha=0.3)
    for column, color in (("source", color_of(0)), ("target", color_of(5))):
        dots = plot.scatter(column, "y", source=source, size=11, color=color)
        add_tip(plot, dots, [("", "@name"), ("source", "@source{0.0%}"), ("target", "@tip")])
    return plot


def _transfer_columns(rows: Sequence[Row], names: Mapping[str, str]) -> dict[str, list[Any]]:
    targets = [row["target_accuracy"] for row in rows]
    specs = [str(row.get("spec", "")) for row in rows]
    aligned = [row.get("alignment") not in (None, "none") for row in rows]
    return {
        "y": list(range(len(rows))),
        "name": [
            plot_label(names.get(spec, spec)) + (f" + {row['alignment']}" if is_aligned else "")
            for spec, row, is_aligned in zip(specs, rows, aligned)
        ],
        "source": [row["source_accuracy"] for row in rows],
        "target": targets,
        "low": [_or(row.get("low"), row["target_accuracy"]) for row in rows],
        "high": [_or(row.get("high"), row["target_accuracy"]) for row in rows],
        "tip": [_share(row["target_accuracy"], row.get("low"), row.get("high")) for row in rows],
    }


def curve_charts(curves: Sequence[dict[str, Any]], key: str, x: str = "epoch") -> dict[str, figure]:
    """Loss and accuracy against the epoch or the number of labels, one line a run.

    Where there are several seeds, their mean stands out.

    Parameters
    ----------
    curves : sequence of dict
        ``name``, ``seed``, and lists of the same length under `x` and the measures.
    key : str
    x : {"epoch", "n_labels"}, default="epoch"

    Returns
    -------
    dict of str to Bokeh figure
        By the measure's name.
    """
    found = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "accuracy")
    shown = {name: [curve for curve in curves if has_values(curve, name)] for name in found}
    return {name: _curve_chart(own, name, key, x) for name, own in shown.items() if own}


def curve_colors(curves: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Name of each kind of run, and its colour."""
    names = dict.fromkeys(str(curve.get("name", "")) for curve in curves)
    return {name: color_of(place) for place, name in enumerate(names)}


def _curve_chart(curves: Sequence[dict[str, Any]], name: str, key: str, x: str) -> figure:
    from bokeh.models import BasicTicker, ColumnDataSource, Span

    label = column_label(x)
    plot = empty_plot(f"figure-{x}-{name}-{key}", x_axis_label=label, height=270)
    plot.xaxis.ticker = BasicTicker(mantissas=[1, 2, 5], min_interval=1)
    if find_column(name).unit == "share":
        plot.yaxis.formatter = _percent()
    colors = curve_colors(curves)
    means = mean_curves(curves, name, x)
    has_seeds, levels = len(curves) > len(means), levels_of(curves, name)
    for kind, level in levels.items():
        plot.add_layout(
            Span(location=level, line_color=colors[kind], line_width=2, line_dash="dashed")
        )
    for curve in curves:
        steps = curve.get(x) or range(1, 1 + len(curve[name]))
        columns = _curve_columns(steps, curve[name], curve, f"seed {curve.get('seed', '?')}")
        source = ColumnDataSource(columns)
        how = {"source": source, "color": colors[str(curve.get("name", ""))]}
        thin = {"line_width": 1, "alpha": 0.4} if has_seeds else {"line_width": 2, "alpha": 0.8}
        plot.line("x", "y", **how, **thin)
        dots = plot.scatter("x", "y", **how, size=3 if has_seeds else 5, alpha=thin["alpha"])
        add_tip(plot, dots, [("", "@run"), (label, "@x"), (column_label(name), "@y{0.000}")])
    for kind, (steps, values) in means.items() if has_seeds else ():
        source = ColumnDataSource(_curve_columns(steps, values, {"name": kind}, "mean"))
        plot.line("x", "y", source=source, color=colors[kind], line_width=3.5)
    return plot


def _curve_columns(
    steps: Sequence[int], values: Sequence[Any], curve: dict[str, Any], run: str
) -> dict[str, list[Any]]:
    # Of a column, for "@" and "$" in the tip itself would be taken for columns.
    run = plot_label(f"{curve.get('name', '')}, {run}")
    return {"x": list(steps), "y": _nan(values), "run": [run] * len(values)}


def _percent() -> Any:
    from bokeh.models import NumeralTickFormatter

    return NumeralTickFormatter(format="0%")


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a logarithmic axis with room for names at both sides."""
    low, high = min(values), max(values)
    room = max((high / low) ** 0.12, 1.6)
    return low / room, high * room


def _n_with(rows: Sequence[Row], *names: str) -> int:
    return sum(all(isinstance(row.get(name), int | float) for name in names) for row in rows)


def _interval_text(row: Row, name: str, low: str, high: str) -> str:
    if row.get(name) is None:
        return ""
    text, start, end = number(row[name]), row.get(low), row.get(high)
    return text if start is None or end is None else f"{text} [{number(start)}, {number(end)}]"


def _share(value: float, low: float | None, high: float | None) -> str:
    text = f"{value:.1%}"
    return text if low is None or high is None else f"{text} [{low:.1%}, {high:.1%}]"


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value


def _nan(values: Sequence[Any]) -> list[Any]:
    return [float("nan") if value is None else value for value in values]
