"""A result's rows as a table of the page: which columns, which words, in which order they sort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import featx.analysis.metrics  # noqa: F401 - registers its columns
from featx.features.columns import all_columns, find_column
from featx.report.page_text import clean, number, words

Row = dict[str, Any]

_POINTS = {"difference": 100, "points": 1}
"""Units that the page shows in percentage points, and what brings a value there."""


@dataclass(frozen=True)
class Cell:
    """Text, what it sorts by, and where a bar of its interval goes (shares of the width)."""

    text: str
    key: float | str = ""
    is_number: bool = False
    interval: str = ""
    bar: tuple[float, float, float] | None = None
    title: str = ""


@dataclass(frozen=True)
class Heading:
    """One column: its name in the results, its label, and whether it is shown at first."""

    name: str
    label: str
    is_main: bool
    is_number: bool


@dataclass(frozen=True)
class Table:
    """Columns and the cells of every row."""

    columns: list[Heading]
    rows: list[list[Cell]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    @property
    def has_more(self) -> bool:
        """Whether some columns are hidden at first."""
        return not all(column.is_main for column in self.columns)


def make_table(
    rows: Sequence[Row], names: Mapping[str, str] | None = None, command: str = ""
) -> Table:
    """Table of some rows: empty columns left out, ends of intervals beside their middle.

    Parameters
    ----------
    rows : sequence of dict
        Plain values; None where a row has none.
    names : mapping of str to str, optional
        What to call a SPEC.
    command : str, optional
        Whose rows they are: some columns have another label there.

    Examples
    --------
    >>> table = make_table([{"spec": "hog", "accuracy": 0.5, "low": 0.4, "high": 0.6}])
    >>> [column.label for column in table.columns], table.rows[0][1].text
    (['Features', 'Accuracy'], '50.0%')
    """
    filled = [name for name in _names(rows) if any(row.get(name) is not None for row in rows)]
    ends = _interval_ends(filled)
    hidden = {end for pair in ends.values() for end in pair}
    main = _main(filled, rows)
    columns = [_heading(name, rows, main, command) for name in filled if name not in hidden]
    columns.sort(key=lambda column: main.index(column.name) if column.is_main else len(main))
    known = names or {}
    cells = [
        [_cell(row, column, ends.get(column.name), known) for column in columns] for row in rows
    ]
    return Table(columns, cells, [_mark(row) for row in rows])


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _interval_ends(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """For each column with an interval the two columns of its ends."""
    bounds = {name: find_column(name).bounds for name in names}
    return {name: ends for name, ends in bounds.items() if set(ends) <= set(names)}


def _main(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Columns to show at first, in their order; all where none of them is known."""
    # Layers of one network: the layer says which, and the SPEC only repeats the rest.
    is_depth = "index" in names and all(row.get("layer") for row in rows)
    main = [column.name for column in all_columns() if column.is_main]
    if is_depth:
        main = ["layer" if name == "spec" else name for name in main]
    return main if set(main) & set(names) else list(names)


def _heading(name: str, rows: Sequence[Row], main: Sequence[str], command: str) -> Heading:
    values = [row[name] for row in rows if row.get(name) is not None]
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    label = clean(find_column(name).label_for(command))
    return Heading(clean(name), label, name in main, is_number)


def _cell(
    row: Row, column: Heading, ends: tuple[str, str] | None, names: Mapping[str, str]
) -> Cell:
    value = row.get(column.name)
    if value is None:
        return Cell("", "", column.is_number)
    if isinstance(value, bool):
        return Cell("yes" if value else "", int(value))
    if not isinstance(value, int | float):
        text = words(value)
        return Cell(clean(names.get(text, text)), text.casefold(), title=text)
    low, high = (row.get(end) for end in ends) if ends else (None, None)
    if low is None or high is None:
        return Cell(_text(value, column.name), value, True)
    bar = _bar(value, low, high) if column.name.endswith("accuracy") else None
    interval = "" if low == high == 0 else _range_text(low, high, column.name)
    return Cell(_text(value, column.name), value, True, interval, bar)


def _range_text(low: float, high: float, name: str) -> str:
    between = " to " if low < 0 or high < 0 else "–"
    return f"{_text(low, name)}{between}{_text(high, name)}"


def _text(value: float, name: str) -> str:
    """A number of a column: shares in percent, differences in points."""
    unit = find_column(name).unit
    if unit == "share":
        return f"{value:.1%}".replace("-", "−")
    if unit in _POINTS:
        return f"{_POINTS[unit] * value:.1f}".replace("-", "−")
    return number(value)


def _bar(value: float, low: float, high: float) -> tuple[float, float, float]:
    """Left end, width and middle of an interval in percent of the cell's bar."""
    low, high, value = (min(max(float(v), 0.0), 1.0) for v in (low, high, value))
    return round(100 * low, 2), round(100 * (high - low), 2), round(100 * value, 2)


def _mark(row: Row) -> str:
    """Class of a row in the page's style."""
    if row.get("is_control"):
        return "control"
    return "average" if row.get("source") == row.get("target") == "mean" else ""
