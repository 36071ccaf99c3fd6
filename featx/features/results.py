"""Results of commands: a table, conclusions in sentences, and provenance."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import featx
from featx._files import atomic_write, to_plain
from featx.errors import ResultFileError, visible
from featx.features.columns import Column, find_column

RESULTS_FILE = "results.json"
_TABLE_FILE = "table.csv"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_PUBLIC = ("command", "version", "data", "n_ignored", "protocol", "rows", "sentences", "failures")


@dataclass
class Result:
    """A table, and everything that is needed to describe, plot and reproduce it.

    Parameters
    ----------
    command : str
        The command: ``probe``, ``compare``, ``transfer``, ``depth``, ``finetune``, ...
    data : str
        The images, as the user named them.
    rows : list of dict
        Rows of the table, best first if they are ranked. All have the same keys and plain values,
        None for a missing one. Accuracies and other fractions are between 0 and 1.
    protocol : dict
        Everything that determines the numbers: splits, grid, metric, seeds.
    sentences : list of str
        Conclusions from the numbers.
    failures : list of (str, str)
        Images that could not be read, and why.
    details : dict
        What only a report shows, as plain values: embeddings, confusion matrices, errors.
    provenance : dict
        How the features were made, as in `FeatureSet`.
    version : str
        Version of featx.
    loaded_from : Path, optional
        The folder that `load` read; None if this process computed the result. Paths in a loaded
        result, which may come from another user, are never opened.

    Examples
    --------
    >>> result = Result("compare", "photos", [{"spec": "hog", "accuracy": 0.5}])
    >>> print(result.to_csv(), end="")
    spec,accuracy
    hog,0.5
    """

    command: str
    data: str
    rows: list[dict[str, Any]]
    protocol: dict[str, Any] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    version: str = featx.__version__
    loaded_from: Path | None = field(default=None, compare=False)

    @property
    def n_ignored(self) -> int:
        """Number of files that are not images."""
        return int(self.provenance.get("n_ignored", 0))

    def to_dict(self) -> dict[str, Any]:
        """The public part as plain values, as printed by ``--json``."""
        everything = asdict(self) | {"n_ignored": self.n_ignored}
        return {name: to_plain(everything[name], allow_nan=False) for name in _PUBLIC}

    def to_csv(self, *, is_safe: bool = False) -> str:
        """The table as comma-separated values with a header; a dict becomes several columns.

        Parameters
        ----------
        is_safe : bool, default=False
            Put an apostrophe before texts that start like a formula (``= + - @``), so that a
            spreadsheet does not execute a file name.
        """
        text = io.StringIO()
        rows = [_flat(row) for row in self.rows]
        if is_safe:
            rows = [{_quoted(name): _quoted(cell) for name, cell in row.items()} for row in rows]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_markdown(self, columns: Sequence[str] | None = None) -> str:
        """The table in Markdown with aligned columns; numbers below ten have three decimals.

        Parameters
        ----------
        columns : sequence of str, optional
            Names of the columns; by default all.
        """
        shown = [find_column(name) for name in columns or self.columns]
        head = [column.name for column in shown]
        cells = [head, *([_cell(row.get(c.name), c) for c in shown] for row in self.rows)]
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        return "".join(f"| {' | '.join(map(str.ljust, line, widths))} |\n" for line in cells)

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in the order of their first occurrence."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``results.json`` (everything) and ``table.csv`` to a folder, which may be new.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ResultFileError
            If it cannot be written.
        """
        folder = Path(folder)
        plain = to_plain(asdict(replace(self, loaded_from=None)), allow_nan=False)
        plain.pop("loaded_from")
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in ((RESULTS_FILE, text), (_TABLE_FILE, self.to_csv(is_safe=True))):
                with atomic_write(folder / name) as temporary:
                    temporary.write_text(content, "utf-8", "surrogatepass")
        except OSError as error:
            raise ResultFileError(f"Cannot write {folder}: {error.strerror}.") from error
        return folder

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ResultFileError
            If there are no results in the folder or they are damaged.
        """
        file = Path(folder) / RESULTS_FILE
        if not file.is_file():  # A pipe would block.
            raise ResultFileError(
                f"No {RESULTS_FILE} in {folder}; make one with --report {folder}."
            )
        try:
            content = json.loads(file.read_text("utf-8", "surrogatepass"))
            content["failures"] = [(path, reason) for path, reason in content["failures"]]
            return cls(**{**content, "loaded_from": Path(folder)})
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise ResultFileError(
                f"{file} is damaged or was not written by featx: {error}."
            ) from error


def _quoted(cell: Any) -> Any:
    """Cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Row without dicts, whose entries become columns ``name.key``."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        inner = value if isinstance(value, dict) else None
        flat |= {name: value} if inner is None else {f"{name}.{k}": v for k, v in inner.items()}
    return flat


def _cell(value: Any, column: Column) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and column.unit == "points":
        return format(value, column.precision)
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else visible(str(value)).replace("|", r"\|")
