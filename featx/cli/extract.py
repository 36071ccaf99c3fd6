"""``featx extract``."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli import options
from featx.cli.console import (
    STRICT_EXIT,
    print_failures,
    print_json,
    reporting,
)

if TYPE_CHECKING:
    from featx.features.feature_set import FeatureSet

_DEFAULT_OUTPUT = "features.npz"


@dataclass(frozen=True)
class ExtractOptions(options.OptionGroup):
    """How features are computed; options of extraction alone."""

    resize: Annotated[
        str | None,
        typer.Option(help="pillow (bit-identical to Pillow, default) or torch (tensor resize)."),
    ] = None
    backend: Annotated[
        str | None, typer.Option(help="Backend that runs the network: auto, torch or openvino.")
    ] = None
    reproducible: Annotated[
        bool,
        typer.Option("--reproducible", help="Fix the network's batch size and back end."),
    ] = False
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Extract the K-th of N fixed parts of the images, such as 3/64: one for each "
            "machine. See `featx cache merge`. Without -o, only the store is filled.",
        ),
    ] = None
    save_extractor: Annotated[
        str | None, typer.Option(metavar="FILE", help="Save the fitted extractor (.skops).")
    ] = None


@options.expand_groups
def extract_command(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="Folders, files, a manifest (.csv .tsv .parquet .jsonl .json .txt), - for names "
            "on stdin, digits, drawings, or torchvision:NAME. None: the built-in digits.",
        ),
    ] = None,
    *,
    features: options.Features,
    extraction: ExtractOptions,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help=".npz .npy .parquet .h5 .csv .safetensors .mat, a folder, or - to fill only "
            f"the store. Default: {_DEFAULT_OUTPUT}.",
        ),
    ] = None,
    force: options.Force = False,
    run: options.RunOptions,
    printed: options.Printed,
) -> None:
    """Extract image features and save them.

    Features are stored: the next run computes only those of new or changed images.

    \b
    featx extract photos/ --layer pool1,fc7
    featx extract photos/ -e hog -e bovw:surf -o features.parquet
    featx extract photos/ --model alexnet --layer -1 --pooling gap -o fc7.npz
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    output = output or ("-" if extraction.part else _DEFAULT_OUTPUT)
    if output == "-" and run.no_store:
        raise typer.BadParameter("-o - fills the store only, and --no-store has none.")
    from featx.engine.extraction import extract

    path = None if output == "-" else Path(output)
    started = time.perf_counter()
    with reporting(quiet=printed.quiet) as reporter:
        if not images:
            reporter.note("No images named: the built-in digits of scikit-learn.")
        extracted = extract(
            images or "digits",
            features.extractor,
            output=path,
            force=force,
            collect=path is not None,
            progress=reporter,
            **features.to_parameters(),
            **extraction.to_parameters(),
            **run.to_parameters(),
        )
    seconds = time.perf_counter() - started
    _print(extracted, path, seconds, as_json=printed.as_json)
    print_failures(extracted.failures)
    if printed.strict and extracted.failures:
        raise typer.Exit(STRICT_EXIT)


def _print(features: FeatureSet, path: Path | None, seconds: float, *, as_json: bool) -> None:
    n = len(features.paths)
    if as_json:
        failures = [{"path": path, "reason": reason} for path, reason in features.failures]
        print_json(
            "extract",
            [_row(features, entry, seconds) for entry in features.provenance["extractors"]],
            data=features.provenance["data"],
            output=None if path is None else str(path),
            n_images=n,
            n_ignored=features.provenance["n_ignored"],
            failures=failures,
        )
    elif path is None:
        print(f"{n:,} image{'s are' if n != 1 else ' is'} in the store")
    else:
        blocks = ", ".join(
            f"{name} {stop - start:,}" for name, (start, stop) in features.blocks.items()
        )
        print(f"{path}: {n:,} image{'s' * (n != 1)} x {features.X.shape[1]:,} features ({blocks})")
    sys.stdout.flush()


def _row(features: FeatureSet, entry: dict[str, Any], seconds: float) -> dict[str, Any]:
    start, stop = features.blocks.get(entry["name"], (0, 0))
    return {
        "spec": entry["spec"],
        "layer": entry["settings"].get("layer"),
        "block": entry["name"],
        "n_features": (stop - start) or None,
        "fingerprint": entry["fingerprint"],
        "ms_per_image": round(1000 * seconds / max(len(features.paths), 1), 3),
    }
