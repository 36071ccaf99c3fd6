"""Reports to folders, and results of earlier commands from them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from featx._files import atomic_write
from featx.errors import ResultFileError
from featx.features.results import RESULTS_FILE, Result
from featx.process.phases import phase
from featx.report.page import render_page
from featx.report.thumbnails import Thumbnails, thumbnails_of

_REPORT_FILE = "report.html"
_FIGURES_FOLDER = "figures"


@phase("figures and report")
def write_report(results: Sequence[Result], folder: str | os.PathLike[str]) -> Path:
    """Write a page on some results, and the results themselves, into a folder.

    Parameters
    ----------
    results : sequence of Result
        In the order in which the page tells of them.
    folder : path
        Made if need be. One result leaves ``results.json``, ``table.csv``, ``figures/`` and,
        where images are shown, ``thumbnails.json`` in it; of several each has a folder of its own
        inside, named by its position and command.

    Returns
    -------
    Path
        The page, ``report.html``: one file that needs no network, at most 30 MB.

    Raises
    ------
    ResultFileError
        If there are no results, or the folder cannot be written.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = mkdtemp()
    >>> page = write_report([Result("compare", "photos", [{"spec": "hog"}])], folder)
    >>> page.name, read_results([folder])[0].command
    ('report.html', 'compare')
    """
    from featx.figures.result_figures import save_figures

    results, folder = list(results), Path(folder)
    if not results:
        raise ResultFileError("A report needs at least one result; got none.")
    # Before anything is written: the folder may be the one that results were read from.
    thumbnails = [thumbnails_of(result) for result in results]
    insides = [folder / _folder_name(i, result) for i, result in enumerate(results, 1)]
    insides = [folder] if len(results) == 1 else insides
    for result, inside in zip(results, insides):
        save_figures(result, result.save(inside) / _FIGURES_FOLDER)
    page = write_page(results, folder / _REPORT_FILE, thumbnails=thumbnails)
    for own, inside in zip(thumbnails, insides):
        _save_thumbnails(own, inside)
    return page


@phase("figures and report")
def write_page(
    results: Sequence[Result],
    file: str | os.PathLike[str],
    *,
    thumbnails: Sequence[Thumbnails] | None = None,
) -> Path:
    """Write the page alone, to a file of any name.

    Parameters
    ----------
    results : sequence of Result
    file : path
        Replaced if it is there, in one step.
    thumbnails : sequence of Thumbnails, optional
        As in `featx.report.page.render_page`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ResultFileError
        If the file cannot be written.
    """
    file = Path(file)
    text = render_page(results, thumbnails=thumbnails)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            temporary.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise ResultFileError(f"Cannot write {file}: {error.strerror}.") from error
    return file


def read_results(folders: Sequence[str | os.PathLike[str]]) -> list[Result]:
    """Results that earlier commands left in some folders, or in folders inside them.

    Parameters
    ----------
    folders : sequence of path

    Returns
    -------
    list of Result
        In the order of the folders; those inside one in the order of their names.

    Raises
    ------
    ResultFileError
        If a folder has none, or one is damaged.
    """
    return [Result.load(inner) for folder in folders for inner in _result_folders(Path(folder))]


def _save_thumbnails(thumbnails: Thumbnails, folder: Path) -> None:
    try:
        thumbnails.save(folder)
    except OSError as error:
        raise ResultFileError(f"Cannot write {folder}: {error.strerror}.") from error


def _folder_name(index: int, result: Result) -> str:
    # The command's name may come from a file that somebody else wrote.
    return f"{index}-{re.sub(r'[^a-z]', '', result.command)}"


def _result_folders(folder: Path) -> Iterator[Path]:
    """The folder itself where it has results, else those inside it that have."""
    inside = sorted(file.parent for file in folder.glob(f"*/{RESULTS_FILE}"))
    if (folder / RESULTS_FILE).exists() or not inside:
        return iter([folder])
    return iter(sorted(inside, key=_order))


def _order(folder: Path) -> tuple[int, str]:
    """A folder's number, then its name: ``2-depth`` comes before ``10-umap``."""
    first = folder.name.split("-", 1)[0]
    return (int(first) if first.isdecimal() else 0, folder.name)
