"""What the page shows of one result, as plain values and plots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from featx.features.results import Result
from featx.features.spec_labels import short_specs
from featx.figures.cost_data import prepare_cost
from featx.figures.depth_data import prepare_depth
from featx.figures.learning_data import prepare_learning
from featx.figures.matrix_data import ConfusionData, prepare_confusions, prepare_similarity
from featx.figures.scatter_data import prepare_scatter
from featx.figures.transfer_data import prepare_transfer
from featx.report.cost_plot import plot_cost
from featx.report.depth_plot import plot_depth
from featx.report.learning_plot import plot_learning, strategy_colors
from featx.report.matrix_plot import confused_pairs, plot_confusion, plot_similarity
from featx.report.page_table import Table, make_table
from featx.report.page_text import (
    clean,
    column_label,
    command_line,
    number,
    short_path,
    words,
)
from featx.report.scatter_plot import ScatterPlots, plot_scatter
from featx.report.transfer_plot import plot_transfer

_TITLES = {
    "probe": "One feature set",
    "compare": "Comparison of feature sets",
    "depth": "Classes by depth",
    "umap": "Embedding of the images",
    "transfer": "Transfer between domains",
    "finetune": "Fine-tuning",
    "check": "Data check",
}
_CODE_LABELS = ("Command", "Python")
_N_FAILURES = 200
_N_SPECS = 12
MISTAKE_PX = 144


@dataclass
class Section:
    """One result, ready for the page's template.

    Attributes
    ----------
    key : str
        Tells its elements from those of other results.
    title, command, data : str
    line : str or None
        The command as it would be typed again.
    facts : list of (str, str)
    settings : list of (str, str)
        Extractors, and their parameters in words.
    sentences : list of (str, str)
        Text, and the code that it ends with, if any.
    notes : list of str
    table : Table
    plots : dict of str to Bokeh figure
        By their position on the page.
    captions : dict
        What the template says beside the plots.
    scatter : ScatterPlots or None
    choices : list of dict
        For each feature set its confusion, mistakes and classes.
    galleries : list of dict
        Images with problems that `check` reports, by problem.
    failures : list of (str, str)
    n_failures : int
    """

    key: str
    title: str
    command: str
    data: str
    line: str | None
    facts: list[tuple[str, str]]
    settings: list[tuple[str, str]]
    sentences: list[tuple[str, str]]
    table: Table
    failures: list[tuple[str, str]]
    n_failures: int
    notes: list[str] = field(default_factory=list)
    plots: dict[str, Any] = field(default_factory=dict)
    captions: dict[str, Any] = field(default_factory=dict)
    scatter: ScatterPlots | None = None
    choices: list[dict[str, Any]] = field(default_factory=list)
    galleries: list[dict[str, Any]] = field(default_factory=list)


def make_section(result: Result, key: str) -> Section:
    """Everything that the page says about a result.

    Parameters
    ----------
    result : Result
    key : str
        Letters and digits that no other result on the page has.
    """
    provenance = result.provenance or {}
    names = _spec_names(result)
    section = Section(
        key=key,
        title=_TITLES.get(result.command, clean(result.command).capitalize()),
        command=clean(result.command),
        data=clean(result.data),
        line=command_line(provenance),
        facts=_facts(result),
        settings=_settings(provenance),
        sentences=[_sentence(text, names) for text in result.sentences],
        table=make_table(result.details.get("summary") or result.rows, names, result.command),
        failures=[(clean(path), clean(why)) for path, why in result.failures[:_N_FAILURES]],
        n_failures=len(result.failures),
    )
    _add_plots(section, result)
    _add_scatter(section, result)
    section.choices = _choices(result, section)
    section.galleries = list(_galleries(result))
    return section


def _spec_names(result: Result) -> dict[str, str]:
    """What the page calls each feature set of a result."""
    details = result.details
    named = [details.get(name) or {} for name in ("confusion", "mistakes", "per_class")]
    rows = [row["spec"] for row in result.rows if row.get("spec")]
    return short_specs([*rows, *chain.from_iterable(named)], without_common=True)


def _sentence(text: str, names: dict[str, str]) -> tuple[str, str]:
    """A sentence with short names of features; of one that tells a command, text and code."""
    label, colon, code = text.partition(": ")
    if colon and label in _CODE_LABELS:
        return f"{label}:", clean(code)
    for spec in sorted(names, key=len, reverse=True):
        text = text.replace(spec, names[spec])
    return clean(text), ""


def gallery_paths(result: Result) -> list[str]:
    """Images that the result's galleries show, each once."""
    mistakes = result.details.get("mistakes") or {}
    shown = list(mistakes.values())[:_N_SPECS]
    paths = [entry["path"] for entry in chain.from_iterable(shown)]
    listed = [
        figure["paths"] for it in result.details.get("galleries") or () for figure in it["shown"]
    ]
    return list(dict.fromkeys([*paths, *chain.from_iterable(listed)]))


def _galleries(result: Result) -> Iterator[dict[str, Any]]:
    """Problems that `check` reports, each image with its name."""
    for gallery in result.details.get("galleries") or ():
        shown = [
            {
                "caption": clean(figure["caption"]),
                "images": [
                    {"path": path, "name": clean(path), "short": short_path(clean(path))}
                    for path in figure["paths"]
                ],
            }
            for figure in gallery["shown"]
        ]
        yield {"title": clean(gallery["title"]).capitalize(), "n": gallery["n"], "shown": shown}


def _facts(result: Result) -> list[tuple[str, str]]:
    provenance = result.provenance or {}
    # Lists are grids of what was tried: they stand in results.json.
    protocol = {
        name: value
        for name, value in result.protocol.items()
        if value not in ("", None) and not isinstance(value, list | tuple | dict)
    }
    versions = {"featx": result.version, **(provenance.get("versions") or {})}
    pairs = [
        ("Images", _counts(result)),
        (
            "When",
            clean(provenance.get("created") or "").replace("T", " ").replace("+00:00", " UTC"),
        ),
        ("Machine", clean(provenance.get("platform") or "")),
        ("Protocol", words(protocol).removeprefix("name ")),
        ("Versions", words(versions)),
    ]
    return [(name, value) for name, value in pairs if value]


def _counts(result: Result) -> str:
    """Images, classes, domains and failures of the result."""
    points = result.details.get("points") or {}
    columns = {"classes": points.get("labels"), "domains": points.get("domains")}
    parts = [(len(points.get("paths") or []), "images")]
    parts += [(len(set(values or []) - {""}), name) for name, values in columns.items()]
    if not points:
        protocol = result.protocol
        parts = [
            (protocol.get("n_train") or 0, "to learn from"),
            (protocol.get("n_test") or 0, "to test on"),
            (protocol.get("n_classes") or 0, "classes"),
        ]
    parts.append((len(result.failures), "unreadable"))
    return ", ".join(f"{n:,} {name}" for n, name in parts if n)


def _settings(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    extractors = provenance.get("extractors") or []
    return [
        (clean(entry.get("spec") or entry.get("name") or ""), words(entry.get("settings") or {}))
        for entry in extractors
        if isinstance(entry, dict)
    ]


def _add_plots(section: Section, result: Result) -> None:
    key, names = section.key, _spec_names(result)
    curves = plot_depth(prepare_depth(result), key)
    cost = None if curves else prepare_cost(result)
    if cost is not None:
        section.plots["cost"] = plot_cost(cost, key, names)
        section.captions["cost"] = column_label(cost.column)
    transfer = prepare_transfer(result)
    if transfer is not None:
        section.plots["transfer"] = plot_transfer(transfer, key, names)
    _add_group(section, "depth", curves)
    learning = prepare_learning(result)
    _add_group(section, "curves", plot_learning(learning, "epoch", key))
    _add_group(section, "labels", plot_learning(learning, "n_labels", key))
    colors = strategy_colors(learning)
    section.captions["runs"] = [(clean(name), color) for name, color in colors.items()]
    similarity = prepare_similarity(result)
    if similarity is not None:
        section.plots["cka"] = plot_similarity(similarity, key)


def _add_group(section: Section, group: str, plots: dict[str, Any]) -> None:
    section.plots |= {f"{group}-{name}": plot for name, plot in plots.items()}
    section.captions[group] = [(f"{group}-{name}", column_label(name)) for name in plots]


def _add_scatter(section: Section, result: Result) -> None:
    scatter = plot_scatter(prepare_scatter(result), section.key, result.protocol.get("color"))
    if scatter is None:
        return
    section.scatter = scatter
    section.plots |= {f"map-{name}": root for name, root in scatter.roots.items()}
    if scatter.n_drawn < scatter.n_points:
        section.notes.append(
            f"The embeddings show {scatter.n_drawn:,} of {scatter.n_points:,} images, each "
            "class in proportion; the numbers are of all of them."
        )


def _choices(result: Result, section: Section) -> list[dict[str, Any]]:
    """Confusion, mistakes and classes of each feature set, the best first."""
    details = result.details
    kinds = [details.get(name) or {} for name in ("confusion", "mistakes", "per_class")]
    ranked = [row["spec"] for row in result.rows if row.get("spec")]
    specs_of_all = set(chain.from_iterable(kinds))
    specs = [
        spec for spec in dict.fromkeys([*ranked, *sorted(specs_of_all)]) if spec in specs_of_all
    ]
    if len(specs) > _N_SPECS:
        section.notes.append(
            f"Confusion and mistakes are shown of the first {_N_SPECS} of {len(specs)} kinds of "
            "features; results.json has all."
        )
    confusions = prepare_confusions(result)
    return [
        _choice(result, section, i, spec, confusions.get(spec))
        for i, spec in enumerate(specs[:_N_SPECS])
    ]


def _choice(
    result: Result, section: Section, index: int, spec: str, confusion: ConfusionData | None
) -> dict[str, Any]:
    details = result.details
    name = clean(_spec_names(result).get(spec, spec))
    choice: dict[str, Any] = {"spec": name, "plot": None, "pairs": None}
    if confusion:
        choice["plot"] = f"confusion-{index}"
        section.plots[choice["plot"]] = plot_confusion(confusion, f"{index}-{section.key}")
        choice["pairs"] = make_table(confused_pairs(confusion))
    choice["mistakes"] = list(_mistakes((details.get("mistakes") or {}).get(spec) or []))
    choice["classes"] = make_table((details.get("per_class") or {}).get(spec) or [])
    return choice


def _mistakes(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        probability = entry.get("probability")
        yield {
            "path": entry["path"],
            "name": clean(entry["path"]),
            "short": short_path(clean(entry["path"])),
            "true": clean(entry.get("true") or ""),
            "predicted": clean(entry.get("predicted") or ""),
            "sure": "" if probability is None else _sureness(probability),
        }


def _sureness(value: float) -> str:
    return f"{value:.1%}" if 0 <= value <= 1 else f"margin {number(value)}"
