"""Printing of all commands: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from featx import __version__
from featx.errors import FeatxWarning, visible
from featx.streaming.progress import ProgressCallback

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from featx.features.columns import Column
    from featx.features.results import Result

_N_FAILURES_SHOWN = 10
STRICT_EXIT = 3


def print_json(command: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Print one JSON object on stdout: the command, the version, the rows and anything else."""
    body = {"command": command, "version": __version__, **more, "rows": list(rows)}
    print(json.dumps(body, indent=2, ensure_ascii=False, default=str))


def print_table(rows: Sequence[Mapping[str, Any]], right: Sequence[str] = ()) -> None:
    """Print rows as aligned columns on stdout; the columns named in `right` are right-aligned."""
    if not rows:
        return
    names = list(rows[0])
    cells = [[visible(_cell(row[name])) for name in names] for row in rows]
    lines = [[name.replace("_", " ") for name in names], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    for line in lines:
        parts = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(names, line, widths)
        ]
        print("  ".join(parts).rstrip())


def print_failures(failures: Sequence[tuple[str, str]]) -> None:
    """Print how many images could not be read, and the first few of them, on stderr."""
    if not failures:
        return
    n = len(failures)
    print(f"{n:,} image{'s' * (n > 1)} could not be read:", file=sys.stderr)
    for path, reason in failures[:_N_FAILURES_SHOWN]:
        print(f"  {visible(path)}: {visible(reason)}", file=sys.stderr)
    if n > _N_FAILURES_SHOWN:
        print(f"  and {n - _N_FAILURES_SHOWN:,} more, see the output", file=sys.stderr)


def in_bytes(n_bytes: float) -> str:
    """Number of bytes with its unit.

    Examples
    --------
    >>> in_bytes(1_234_567)
    '1.2 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


class Reporter(ProgressCallback):
    """Progress callback that prints one line per extractor, and a bar on a terminal.

    Parameters
    ----------
    quiet : bool, default=False
        Print nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._names: Sequence[str] = ()
        self._widths: Sequence[int] = ()
        self.n_cached: list[int] = []

    def begin(self, names: Sequence[str], widths: Sequence[int]) -> None:
        """Remember the names and columns of the next extractor."""
        self._names, self._widths = names, widths

    def note(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            print(visible(text), file=sys.stderr)

    def plan(self, n_images: int, n_cached: int) -> None:
        """Print images, how many are cached, columns and bytes; start the bar."""
        self.n_cached.append(n_cached)
        size = 4 * n_images * sum(self._widths)
        columns = " + ".join(f"{width:,}" for width in self._widths)
        shape = f", {columns} columns, {in_bytes(size)}" if columns else ""
        names = ", ".join(self._names)
        self.note(f"{names}: {n_images:,} image{'s' * (n_images != 1)}, {n_cached:,} cached{shape}")
        self.train(names, n_images)

    def train(self, name: str, n_images: int) -> None:
        """Start the bar."""
        if self._progress is not None:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(name, total=n_images)

    def advance(self, n_images: int) -> None:
        """Move the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, n_images)


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Reporter]:
    """A `Reporter` whose progress bar lives while the block runs; none off a terminal.

    Warnings become notes, each printed once; those of featx are printed even if `quiet`.
    """
    reporter = Reporter(quiet=quiet)
    printed: set[str] = set()

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in printed:
            printed.add(str(message))
            speaker = Reporter() if isinstance(message, FeatxWarning) else reporter
            speaker.note(f"note: {message}")

    with warnings.catch_warnings(), _bar_of(reporter, quiet=quiet):
        warnings.showwarning = tell
        yield reporter


@contextmanager
def _bar_of(reporter: Reporter, *, quiet: bool) -> Iterator[None]:
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True, text_format="", text_format_no_percentage=""),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        reporter._progress = bar
        yield


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple | list):
        return "x".join(map(str, value))
    return str(value)


def print_result(
    result: Result,
    *,
    shown: Result | None = None,
    report: str | None = None,
    as_json: bool = False,
    as_csv: bool = False,
    safe_csv: bool = False,
    as_markdown: bool = False,
) -> None:
    """What a command found: the table on stdout, then its sentences; failures on stderr.

    The report is written before anything is printed, for a console may refuse what it gets; what
    was found is printed even where the report cannot be written.

    Parameters
    ----------
    result : Result
        Those of its columns are shown that `featx.features.columns` names for the command.
    shown : Result, optional
        What is printed in its place.
    report : str, optional
        Folder of the report, where one is wanted.
    as_json, as_csv, safe_csv, as_markdown : bool, default=False
        The whole result for other programs, rather than a table for people.
    """
    shown = shown or result
    page = None
    try:
        if report is not None:
            from featx.report.writing import write_report

            page = write_report([result], report)
    finally:
        if as_json:
            print(json.dumps(shown.to_dict(), indent=2, ensure_ascii=False))
        elif as_csv or safe_csv:
            print(shown.to_csv(is_safe=safe_csv), end="")
        else:
            _print_table_of(shown, as_markdown=as_markdown)
        sys.stdout.flush()
        print_failures(result.failures)
    if page is not None:
        print(f"report: {page}", file=sys.stderr)


def conclude(result: Result, *, strict: bool = False) -> None:
    """End a command: with exit code 3 for failures if strict."""
    if strict and result.failures:
        raise typer.Exit(STRICT_EXIT)


def _print_table_of(result: Result, *, as_markdown: bool) -> None:
    """The table for people, and the sentences."""
    columns = _columns_with_values(result)
    if as_markdown:
        print(result.to_markdown([column.name for column in columns]), end="")
    else:
        _print_rows(result, columns)
    if result.sentences:
        print("\n" + "\n".join(map(visible, result.sentences)))


def _columns_with_values(result: Result) -> list[Column]:
    import featx.analysis.metrics  # noqa: F401 - registers its columns
    from featx.features.columns import shown_columns

    columns = shown_columns(result.command)
    return [c for c in columns if any(row.get(c.name) is not None for row in result.rows)]


def _print_rows(result: Result, columns: Sequence[Column]) -> None:
    from featx.features.spec_labels import short_specs

    headings = {column.name: column.heading(result.command) for column in columns}
    names = short_specs(str(row["spec"]) for row in result.rows if row.get("spec"))
    rows = [
        {headings[column.name]: _shown(row.get(column.name), column, names) for column in columns}
        for row in result.rows
    ]
    print_table(rows, right=[headings[column.name] for column in columns if not column.is_text])


def _shown(value: Any, column: Column, names: Mapping[str, str]) -> Any:
    """Value of a cell as the terminal prints it."""
    if isinstance(value, float):
        return format(value, column.precision)
    return names.get(value, value) if column.name == "spec" else value
