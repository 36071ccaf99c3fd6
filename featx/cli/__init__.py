"""The command line: parse, call one library function, print.

Nothing here imports torch, cv2, umap or scikit-learn before a command needs them.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from featx import __version__
from featx.cli import (
    advise,
    augment,
    cache,
    demo,
    depth,
    extract,
    filters,
    finetune,
    listing,
    pretrain,
    probe,
    report,
    transfer,
    umap,
)
from featx.errors import FeatxError

app = typer.Typer(
    name="featx",
    help="Which image features do you need: hand-crafted ones or a network's, and from which "
    "layer?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo_command)
app.command("extract")(extract.extract_command)
app.command("probe")(probe.probe_command)
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
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a featx error is one line on stderr and exit code 1."""
    try:
        app(prog_name="featx")
    except FeatxError as error:
        sys.exit(_failed(str(error)))
    except KeyboardInterrupt:
        sys.exit(_failed("interrupted; what is stored stays good, run again to go on", code=130))
    except BrokenPipeError:
        # The reader has gone: nothing is left to say, and flushing at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _failed(message: str, code: int = 1) -> int:
    print(f"featx: {message}", file=sys.stderr)
    return code
