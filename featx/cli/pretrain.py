"""``featx pretrain``."""

from __future__ import annotations

from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import print_json, reporting

app = typer.Typer(help="Train a network's layers on pictures without labels.", no_args_is_help=True)


@app.command("autoencoder")
def autoencoder_command(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(metavar="PICTURES", help=f"{options.DATA_HELP} None: torchvision:MNIST."),
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="The network whose layers up to the last maps are trained.")
    ] = "lenet",
    weights: Annotated[str, typer.Option(help="What they begin with.")] = "random",
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Weights; reconstructions as a .png beside."
        ),
    ] = "autoencoder.safetensors",
    n_code: Annotated[int, typer.Option(help="Numbers that a picture becomes.", min=1)] = 10,
    noise: Annotated[float, typer.Option(help="Deviation of added noise, 0 to 1.", min=0)] = 0.0,
    mask: Annotated[float, typer.Option(help="Share of patches blanked out.", min=0, max=1)] = 0.0,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    lr: Annotated[float, typer.Option(min=0)] = 1e-3,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    max_pictures: Annotated[int | None, typer.Option(help="Take so many at random.", min=1)] = None,
    size: Annotated[int | None, typer.Option(help="Side of the pictures in px.", min=1)] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep each epoch; go on after a kill.")
    ] = None,
    device: options.Device = None,
    random_state: options.Seed = 0,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No notes, no progress.")] = False,
) -> None:
    """A convolutional autoencoder: pictures to a few numbers and back, no labels needed.

    \b
    featx pretrain autoencoder torchvision:MNIST --encoder lenet
    featx finetune torchvision:MNIST --model lenet --weights autoencoder.safetensors --load 'conv*'
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.finetuning.autoencoder import files_of, pretrain

    with reporting(quiet=quiet) as reporter:
        if not pictures:
            reporter.note("No pictures named: MNIST.")
        found = pretrain(
            pictures or "torchvision:MNIST",
            encoder=encoder,
            weights=weights,
            n_code=n_code,
            noise=noise,
            mask=mask,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            max_pictures=max_pictures,
            size=size,
            random_state=random_state or 0,
            output=output,
            checkpoint=checkpoint,
            watcher=reporter,
            **options.chosen(device=device, precision=precision),
        )
    file, picture = files_of(output)
    if as_json:
        print_json("pretrain", found.history, weights=str(file), picture=str(picture))
        return
    last = found.history[-1]
    print(f"{file}: loss {last['train_loss']:.4f}, on pictures left out {last['valid_loss']:.4f}")
    print(f"{picture}: pictures left out, above what was made of them")
