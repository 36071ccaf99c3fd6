"""``featx extract``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli import options
from featx.cli.console import STRICT_EXIT, print_failures, print_json, reporting

if TYPE_CHECKING:
    from featx.features import FeatureSet

DEFAULT_OUTPUT = "features.npz"


def extract_command(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="A folder, files, a manifest (.csv .tsv .parquet), - for names on stdin, "
            "digits, or torchvision:NAME. None: the built-in digits.",
        ),
    ] = None,
    extractor: options.Extractors = None,
    model: options.Model = None,
    layer: options.Layers = None,
    weights: options.Weights = None,
    pooling: options.Pooling = None,
    resize: Annotated[
        str | None, typer.Option(help="pillow (its very numbers; the default) or torch (tensors).")
    ] = None,
    decode: Annotated[
        str | None,
        typer.Option(help="full (default) or scaled: large JPEGs reduced as they are decoded."),
    ] = None,
    precision: options.Precision = None,
    device: options.Device = None,
    backend: options.Backend = None,
    domains: options.Domains = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help=".npz .npy .parquet .h5 .csv .safetensors .mat, a folder, or - for none: only "
            f"the store is filled. By default {DEFAULT_OUTPUT}.",
        ),
    ] = None,
    save_extractor: Annotated[
        str | None, typer.Option(metavar="FILE", help="Keep the fitted extractor (.skops).")
    ] = None,
    store: options.Store = None,
    no_store: options.NoStore = False,
    n_jobs: options.Jobs = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Larger pictures are refused.", min=1)
    ] = None,
    reproducible: Annotated[
        bool, typer.Option("--reproducible", help="Fix the network's batch and back end.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace any existing output.")] = False,
    strict: options.Strict = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Features of pictures to a file, cached on disk: run it again and only news is computed.

    \b
    featx extract photos/ --layer pool1 --layer fc7
    featx extract photos/ -e hog -e bovw:surf -o features.parquet
    featx extract photos/ --model alexnet --layer -1 --pooling gap -o fc7.npz
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    if output == "-" and no_store:
        raise typer.BadParameter("-o - fills the store only, and --no-store has none.")
    from featx.extraction import extract

    given = options.chosen(
        weights=weights,
        pooling=pooling,
        resize=resize,
        decode=decode,
        precision=precision,
        backend=backend,
        device=device,
        n_jobs=n_jobs,
        max_pixels=max_pixels,
        reproducible=reproducible or None,
    )
    path = None if output == "-" else Path(output or DEFAULT_OUTPUT)
    started = time.perf_counter()
    with reporting(quiet=quiet) as reporter:
        if not images:
            reporter.note("No pictures named: the built-in digits of scikit-learn.")
        features = extract(
            images or "digits",
            extractor or None,
            model=model,
            layer=layer or None,
            domains=options.chosen_domains(domains),
            output=path,
            force=force,
            store=options.chosen_store(store, no_store=no_store),
            save_extractor=save_extractor,
            collect=path is not None,
            watcher=reporter,
            **given,
        )
    seconds = time.perf_counter() - started
    _print(features, path, seconds, as_json=as_json)
    print_failures(features.failures)
    if strict and features.failures:
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
            failures=failures,
        )
    elif path is None:
        print(f"{n:,} pictures are in the store")
    else:
        blocks = ", ".join(
            f"{name} {stop - start:,}" for name, (start, stop) in features.blocks.items()
        )
        print(f"{path}: {n:,} pictures x {features.X.shape[1]:,} features ({blocks})")
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
