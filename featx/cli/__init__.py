"""The command line: parse, call one library function, print.

Nothing here imports torch, cv2, umap or scikit-learn before a command needs them.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from featx import __version__
from featx.cli import (
    advise,
    augment,
    cache,
    check,
    demo,
    depth,
    extract,
    filters,
    finetune,
    listing,
    options,
    pretrain,
    probe,
    report,
    transfer,
    umap,
)
from featx.errors import FeatxError, one_line, visible


class _CommandError(Exception):
    """An exception of a command on its way past typer, which says "Aborted." to some of them."""


class _Commands(TyperGroup):
    """The commands, whose exceptions are left to `main`."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (EOFError, KeyboardInterrupt, OSError) as error:
            raise _CommandError from error


app = typer.Typer(
    cls=_Commands,
    name="featx",
    help="Extract and compare image features: hand-crafted ones and those of any layer of a "
    "network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo_command)
app.command("extract")(extract.extract_command)
app.command("probe")(probe.probe_command)
app.command("check")(check.check_command)
app.command("compare")(probe.compare_command)
app.command("predict")(probe.predict_command)
app.command("transfer")(transfer.transfer_command)
app.command("depth")(depth.depth_command)
app.command("umap")(umap.umap_command)
app.command("filters")(filters.filters_command)
app.command("finetune")(finetune.finetune_command)
app.command("advise")(advise.advise_command)
app.command("augment")(augment.augment_command)
app.command("report")(report.report_command)
app.command("layers")(listing.layers_command)
app.command("models")(listing.models_command)
app.command("extractors")(listing.extractors_command)
app.add_typer(cache.app, name="cache")
app.add_typer(pretrain.app, name="pretrain")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"featx {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            help="Print the version.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
    debug: options.Debug = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an error is one line on stderr and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # A console may lack the letters of a class.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="featx")
    except Exception as error:
        cause = error.__cause__ if isinstance(error, _CommandError) else error
        if options.is_debug():
            traceback.print_exception(cause)
        sys.exit(_fail(cause or error))


def _fail(error: BaseException) -> int:
    """Print the line for an error; the exit code."""
    if isinstance(error, BrokenPipeError):
        # Nobody reads stdout any more, and flushing it at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    print(f"featx: {visible(_line(error))}", file=sys.stderr)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _line(error: BaseException) -> str:
    """The line that is printed for an error."""
    if isinstance(error, FeatxError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):  # Where no signal handler of ours is at work.
        return "interrupted; stored rows remain valid, run again to resume"
    if isinstance(error, MemoryError):
        return f"out of memory; take fewer images or features, or fewer jobs: {one_line(error)}"
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror[0].lower() + error.strerror[1:]
        return reason if error.filename is None else f"{error.filename}: {reason}"
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" in {os.path.basename(it.filename)}:{it.lineno}" for it in frames)
    return (
        f"unexpected {type(error).__name__}{where}: {one_line(error)}; please report this, with "
        "the traceback that --debug shows"
    )
