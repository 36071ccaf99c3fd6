"""Table of all columns of results: their labels, units and formats, and where they are shown.

The terminal, the report and the figures all use this table. Metrics of layers register their
columns where they are computed, see `featx.analysis.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cache
from typing import Literal

_CONTROLS = ("shuffled", "random")
_EVALUATED = ("probe", "compare", "depth", "advise", "finetune", "demo")


@dataclass(frozen=True)
class Column:
    """One column of the rows of a `featx.features.results.Result`.

    Parameters
    ----------
    name : str
        Key in the rows, in JSON, CSV and Markdown.
    label : str
        Heading in the report and in figures.
    short : str, optional
        Heading in the terminal; by default the label in lower case.
    renamed : mapping of str to str, optional
        Labels in the results of particular commands.
    unit : {"", "share", "difference", "points"}, default=""
        ``share``: a fraction from 0 to 1, shown as a percentage in the report. ``difference``:
        difference of two fractions, shown in percentage points in the report. ``points``: a value
        in percentage points.
    precision : str, default=".3f"
        Format of a float in the terminal.
    interval : (str, str), optional
        Columns with the ends of the confidence interval; by default the name with ``_low`` and
        ``_high``.
    commands : tuple of str, default=()
        Commands that show the column in the terminal.
    is_main : bool, default=False
        Whether the report shows the column before the reader asks for all columns.
    has_curve : bool, default=False
        Whether the column is plotted against depth.
    axis : {"free", "unit", "signed"}, default="free"
        Axis of this plot: ``unit`` is from 0 to 1, ``signed`` has a line at 0.
    controls : tuple of {"shuffled", "random"}, default=()
        Controls whose values ``depth`` also shows in the terminal.
    cost_rank : int, optional
        Order of preference as the cost that accuracy is plotted against; None if it is no cost.
    is_text : bool, default=False
        Whether the terminal aligns the column to the left.

    Examples
    --------
    >>> column = Column("balanced_accuracy", "Balanced accuracy", short="balanced", unit="share")
    >>> column.heading(), column.bounds
    ('balanced', ('balanced_accuracy_low', 'balanced_accuracy_high'))
    """

    name: str
    label: str
    _: KW_ONLY
    short: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)
    unit: Literal["", "share", "difference", "points"] = ""
    precision: str = ".3f"
    interval: tuple[str, str] | None = None
    commands: tuple[str, ...] = ()
    is_main: bool = False
    has_curve: bool = False
    axis: Literal["free", "unit", "signed"] = "free"
    controls: tuple[str, ...] = ()
    cost_rank: int | None = None
    is_text: bool = False

    @property
    def bounds(self) -> tuple[str, str]:
        """Columns with the lower and the upper end of the confidence interval."""
        return self.interval or (f"{self.name}_low", f"{self.name}_high")

    def label_for(self, command: str) -> str:
        """Label in the results of a command."""
        return self.renamed.get(command, self.label)

    def heading(self, command: str = "") -> str:
        """Heading in the terminal: `short`, else the label with its first word in lower case.

        Examples
        --------
        >>> [Column("x", text).heading() for text in ("NMI", "Macro F1", "Davies-Bouldin")]
        ['NMI', 'macro F1', 'Davies-Bouldin']
        """
        if self.short and command not in self.renamed:
            return self.short
        first, *rest = self.label_for(command).split(" ")
        # Abbreviations and names stay in capitals.
        return " ".join([first.lower() if first[1:].islower() else first, *rest])

    def under(self, control: str) -> Column:
        """Column of the same measure under a control.

        Examples
        --------
        >>> Column("purity", "Purity", unit="share").under("random").label
        'Purity, random'
        """
        return replace(
            self,
            name=f"{self.name}_{control}",
            label=f"{self.label}, {control}",
            short="",
            interval=None,
            commands=("depth",) if control in self.controls else (),
            is_main=False,
            has_curve=False,
            controls=(),
        )


COLUMNS = (
    Column(
        "spec", "Features", is_text=True, is_main=True, renamed={"finetune": "Strategy"},
        commands=("probe", "compare", "transfer", "advise", "finetune", "demo"),
    ),
    Column("path", "Image", commands=("predict",), is_text=True),
    Column("problem", "Problem", commands=("check",), is_text=True, is_main=True),
    Column("layer", "Layer", commands=("probe", "depth"), is_text=True),
    Column("alignment", "Alignment", commands=("transfer",), is_main=True),
    Column("source", "From", commands=("transfer",), is_main=True),
    Column("target", "To", commands=("transfer",), is_main=True),
    Column("name", "Name", is_main=True),
    Column(
        "train_per_class", "Training images per class", short="train/class", commands=("probe",)
    ),
    Column("n_labels", "Training images per class"),
    Column(
        "accuracy", "Accuracy", unit="share", interval=("low", "high"), commands=_EVALUATED,
        is_main=True, has_curve=True, axis="unit", controls=("shuffled", "random"),
    ),
    Column("train_loss", "Training loss"),
    Column("valid_loss", "Validation loss"),
    Column("train_accuracy", "Training accuracy", unit="share"),
    Column("valid_accuracy", "Validation accuracy", unit="share"),
    Column(
        "source_accuracy", "Source accuracy", short="source", unit="share",
        commands=("transfer",), is_main=True,
    ),
    Column(
        "target_accuracy", "Target accuracy", short="target", unit="share",
        interval=("low", "high"), commands=("transfer",), is_main=True,
    ),
    Column("low", "Low", commands=(*_EVALUATED, "transfer")),
    Column("high", "High", commands=(*_EVALUATED, "transfer")),
    Column(
        "balanced_accuracy", "Balanced accuracy", short="balanced", unit="share",
        interval=("balanced_low", "balanced_high"),
        commands=("probe", "compare", "advise", "finetune"),
    ),
    Column("macro_f1", "Macro F1", unit="share", commands=("probe",)),
    Column("log_loss", "Log loss", commands=("probe", "finetune")),
    Column(
        "difference", "Behind best", short="behind", unit="difference",
        commands=("compare", "transfer", "finetune"), is_main=True,
    ),
    Column("p_value", "p", commands=("compare", "finetune")),
    Column("is_tied", "Tied", commands=("compare",), is_main=True),
    Column("is_control", "Control"),
    Column(
        "points_lost", "Points lost", unit="points", precision=".1f", commands=("transfer",),
        is_main=True,
    ),
    Column("share_kept", "Share kept", unit="share", commands=("transfer",)),
    Column(
        "points_gained", "Points gained", unit="points", precision=".1f", commands=("transfer",)
    ),
    Column("domain_accuracy", "Domain accuracy", unit="share", commands=("transfer",)),
    Column("trustworthiness", "Trustworthiness", is_main=True),
    Column("neighbors_kept", "Neighbours kept", unit="share", is_main=True),
    Column("n_trainable", "Trainable", commands=("finetune",)),
    Column(
        "n_features", "Columns", commands=("probe", "compare", "depth", "demo"), is_main=True,
        cost_rank=1,
    ),
    Column("bytes_per_image", "Bytes/image", cost_rank=2),
    Column(
        "ms_per_image", "ms/image", precision=".3g", commands=("probe", "compare", "demo"),
        is_main=True, cost_rank=0,
    ),
    Column(
        "train_seconds", "Training (s)", short="train s", precision=".3g",
        commands=("compare", "finetune"), cost_rank=3,
    ),
    Column("C", "C", precision=".3g", commands=("probe", "compare")),
    Column("note", "Note", is_main=True),
    Column("predicted", "Predicted", commands=("predict",), is_main=True),
    Column("probability", "Probability", commands=("predict",)),
    Column("class", "Class", is_main=True),
    Column("true", "True", commands=("predict",), is_main=True),
    Column("n", "Images", commands=("check",), is_main=True),
    Column("n_across", "In another split", commands=("check",), is_main=True),
    Column("n_relabeled", "With another label", commands=("check",), is_main=True),
    Column("n_dropped", "Excluded by --write", commands=("check",), is_main=True),
    Column("share", "Share", unit="share", is_main=True),
    Column("recall", "Recall", unit="share", is_main=True),
    Column("precision", "Precision", unit="share", is_main=True),
    Column("f1", "F1", unit="share", is_main=True),
    Column("cka", "CKA"),
)  # fmt: skip
"""Columns that are not registered elsewhere, in the order of all tables."""

_FIRST_AFTER_REGISTERED = "trustworthiness"
"""Registered columns are inserted before this one."""

_registered: dict[str, Column] = {}


def register_columns(*columns: Column) -> None:
    """Add columns to the table, after the scores and before the costs.

    Raises
    ------
    ValueError
        If the name of a column is already in use.
    """
    existing = _registered | {column.name: column for column in COLUMNS}
    for column in columns:
        if existing.get(column.name, column) != column:
            raise ValueError(f"Another column has the name {column.name!r}; choose a new one.")
        _registered[column.name] = column
    _by_name.cache_clear()


def all_columns() -> list[Column]:
    """All columns, in the order of all tables."""
    return list(_by_name().values())


def shown_columns(command: str) -> list[Column]:
    """Columns of a command's results that the terminal shows, in order.

    Examples
    --------
    >>> [column.heading() for column in shown_columns("predict")]
    ['image', 'predicted', 'probability', 'true']
    """
    return [column for column in all_columns() if command in column.commands]


def depth_columns() -> list[Column]:
    """Columns that are plotted against depth, in order."""
    return [column for column in all_columns() if column.has_curve]


def cost_names() -> list[str]:
    """Names of the costs that accuracy may be plotted against, the preferred one first."""
    ranks = {c.name: c.cost_rank for c in all_columns() if c.cost_rank is not None}
    return sorted(ranks, key=lambda name: ranks[name])


def find_column(name: str) -> Column:
    """Column with a name; a column that is not in the table is labeled by its name.

    Examples
    --------
    >>> find_column("p_value").label, find_column("n_seeds").label
    ('p', 'N seeds')
    """
    return _by_name().get(name) or Column(name, name[:1].upper() + name[1:].replace("_", " "))


@cache
def _by_name() -> dict[str, Column]:
    names = [column.name for column in COLUMNS]
    middle = names.index(_FIRST_AFTER_REGISTERED)
    columns = [*COLUMNS[:middle], *_registered.values(), *COLUMNS[middle:]]
    under = [
        column.under(control) for column in columns if column.has_curve for control in _CONTROLS
    ]
    return {column.name: column for column in [*columns, *under]}
