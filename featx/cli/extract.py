"""``featx extract``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.console import print_failures, print_json, reporting

if TYPE_CHECKING:
    from featx.features import FeatureSet

DEFAULT_OUTPUT = "features.npz"
STRICT_EXIT = 3


def extract_command(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="A folder, files, a manifest (.csv .tsv .parquet), - for names on stdin, "
            "digits, or torchvision:NAME. None: the built-in digits.",
        ),
    ] = None,
    extractor: Annotated[
        list[str] | None,
        typer.Option("-e", "--extractor", metavar="SPEC", help="NAME[:ARG…][,key=value…]; repeat."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A network, see `featx models`; short for -e cnn:MODEL. By default featxnet."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="A layer of the network, see `featx layers MODEL`; repeat. By default -1, "
            "the last before the classes."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="default, a name, a file, or random.")] = None,
    pooling: Annotated[
        str | None, typer.Option(help="flatten, gap, max, gem, grid=N; of tokens cls, mean.")
    ] = None,
    resize: Annotated[
        str | None, typer.Option(help="pillow (its very numbers; the default) or torch (tensors).")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    domains: Annotated[
        str | None,
        typer.Option(help="The folder above the class is the domain; those wanted, or 'all'."),
    ] = None,
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
    store: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Where rows are kept; by default the user's cache.",
            envvar="FEATX_STORE",
        ),
    ] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Keep no rows.")] = False,
    n_jobs: Annotated[
        int | None, typer.Option("-j", "--n-jobs", help="Jobs; by default all cores.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Larger pictures are refused.", min=1)
    ] = None,
    reproducible: Annotated[
        bool, typer.Option("--reproducible", help="Fix the network's batch and back end.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace any existing output.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 if a picture could not be read.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No notes, no progress.")] = False,
) -> None:
    """Features of pictures to a file, cached on disk: run it again and only news is computed.

    \b
    featx extract photos/ --layer pool1 --layer fc7
    featx extract photos/ -e hog -e bovw:surf -o features.parquet
    featx extract photos/ --model alexnet --layer -1 --pooling gap -o fc7.npz
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    if output == "-" and no_store:
        raise typer.BadParameter("-o - fills the store only, and --no-store has none.")
    import warnings

    from featx.extraction import extract

    given = {
        "weights": weights,
        "pooling": pooling,
        "resize": resize,
        "precision": precision,
        "device": device,
        "n_jobs": n_jobs,
        "max_pixels": max_pixels,
        "reproducible": reproducible or None,
    }
    path = None if output == "-" else Path(output or DEFAULT_OUTPUT)
    started = time.perf_counter()
    with reporting(quiet=quiet) as reporter, warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: reporter.note(f"note: {message}")
        if not images:
            reporter.note("No pictures named: the built-in digits of scikit-learn.")
        features = extract(
            images or "digits",
            extractor or None,
            model=model,
            layer=layer or None,
            domains=_domains(domains),
            output=path,
            force=force,
            store=None if no_store else store or "default",
            save_extractor=save_extractor,
            collect=path is not None,
            watcher=reporter,
            **{key: value for key, value in given.items() if value is not None},
        )
    seconds = time.perf_counter() - started
    _print(features, path, seconds, as_json=as_json)
    print_failures(features.failures)
    if strict and features.failures:
        raise typer.Exit(STRICT_EXIT)


def _domains(text: str | None) -> bool | list[str] | None:
    if text is None or text == "all":
        return None if text is None else True
    return [name.strip() for name in text.split(",") if name.strip()]


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
