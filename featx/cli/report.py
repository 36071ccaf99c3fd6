"""``featx report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featx.cli import options

_DEFAULT_FOLDER = "report"


@options.expand_groups
def report_command(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR…", help="Folders written by --report, or folders that contain them."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the page.")
    ] = Path(_DEFAULT_FOLDER),
) -> None:
    """Combine earlier results into one offline page.

    \b
    featx compare photos/ --report first/
    featx depth photos/ --model alexnet --report second/
    featx report first/ second/ -o both/
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.report.writing import read_results, write_report

    print(write_report(read_results(folders), output))
