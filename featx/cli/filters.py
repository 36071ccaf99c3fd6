"""``featx filters``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli import options
from featx.cli.console import conclude, print_failures, print_json, reporting
from featx.errors import ResultFileError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")


def filters_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="See `featx models`.")],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA]", help="Pictures, for what excites a deeper layer; see featx extract."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="With DATA: by default the deepest that gives maps."),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(help="As 3,17,40; by default the eight that stand out most."),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help=".png, .svg or .pdf.")
    ] = "filters.png",
    weights: options.Weights = None,
    device: options.Device = None,
    domains: options.Domains = None,
    store: options.Store = None,
    no_store: options.NoStore = False,
    n_jobs: options.Jobs = None,
    as_json: options.Json = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """What layers see: the first kernels; with DATA, what excites channels of a deeper layer.

    \b
    featx filters featxnet -o kernels.png
    featx filters featxnet photos/ --layer conv5 -o conv5.png
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    file = Path(output)
    if file.suffix.lower() not in SUFFIXES:
        raise ResultFileError(
            f"{output}: filters are drawn to {', '.join(SUFFIXES)}; got "
            f"{file.suffix or 'no suffix'}."
        )
    if not data and (layer or channels):
        raise typer.BadParameter("--layer and --channels show what excites them: name DATA too.")
    if not data:
        figure, said = _kernels(model, options.chosen(weights=weights))
        _save(figure, file)
        print(f"{output}: {said}")
        return
    from featx.filters import find_exciting
    from featx.plotting.kernels import draw_exciting

    given = options.chosen(weights=weights, device=device, n_jobs=n_jobs)
    with reporting(quiet=quiet) as reporter:
        result, found = find_exciting(
            data,
            model,
            layer,
            channels=_numbers(channels),
            domains=options.chosen_domains(domains),
            store=options.chosen_store(store, no_store=no_store),
            watcher=reporter,
            **given,
        )
    field = "x".join(map(str, result.rows[0]["field_px"]))
    title = f"{model}, {result.rows[0]['layer']}: what {field} px excite each channel most"
    _save(draw_exciting(found, title), file)
    if as_json:
        print_json("filters", result.rows, data=result.data, output=output)
    else:
        print(f"{output}: {len(found)} channels of {result.rows[0]['layer']}")
        print("\n".join(result.sentences))
    sys.stdout.flush()
    print_failures(result.failures)
    conclude(result, strict=strict)


def _kernels(model: str, given: dict[str, Any]) -> tuple[Figure, str]:
    from featx.filters import read_kernels
    from featx.plotting.kernels import draw_kernels

    kernels = read_kernels(model, **given)
    n, height, width, _ = kernels.shape
    return draw_kernels(kernels, f"{model}, first kernels"), f"{n} kernels of {height}x{width} px"


def _save(figure: Figure, file: Path) -> None:
    from featx.plotting.style import save_figure

    save_figure(figure, file, [file.suffix.lower()[1:]])


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise typer.BadParameter(f"--channels takes numbers, as 3,17,40; got {text!r}.")
    return [int(part) for part in parts]
