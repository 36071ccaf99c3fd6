"""``featx pretrain``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from featx.cli import options
from featx.cli.console import print_json, reporting

app = typer.Typer(help="Pretrain a network on unlabeled images.", no_args_is_help=True)


@dataclass(frozen=True)
class _AutoencoderOptions(options.OptionGroup):
    """Options of the autoencoder."""

    encoder: Annotated[
        str | None,
        typer.Option(
            help="Network whose layers up to the last feature maps are trained. Default: lenet."
        ),
    ] = None
    code_size: Annotated[
        int | None, typer.Option(help="Size of the bottleneck code. Default: 10.", min=1)
    ] = None
    noise: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of noise added to pixels in 0 to 1. Default: 0.0.", min=0
        ),
    ] = None
    mask: Annotated[
        float | None,
        typer.Option(help="Fraction of patches blanked out. Default: 0.0.", min=0, max=1),
    ] = None
    max_images: Annotated[
        int | None, typer.Option(help="Maximum number of images, drawn at random.", min=1)
    ] = None


@app.command("autoencoder")
@options.expand_groups
def _autoencoder_command(
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGES", help=f"{options.DATA_HELP} Default: torchvision:MNIST."),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Weights (.safetensors); reconstructions go to a .png beside them.",
        ),
    ] = "autoencoder.safetensors",
    *,
    autoencoder: _AutoencoderOptions,
    network: Annotated[
        options.FeatureOptions, options.Only("weights", "size", "precision", "device", "trust")
    ],
    training: options.TrainingOptions,
    rules: options.Seed,
    reading: options.Reading,
    printed: Annotated[options.PrintOptions, options.Only("as_json", "quiet")],
) -> None:
    """Train a convolutional autoencoder without labels.

    The encoder starts from random weights, unless --weights names others. It is trained for ten
    epochs on batches of 64 images, at a learning rate of 0.001.

    \b
    featx pretrain autoencoder torchvision:MNIST --encoder lenet
    featx finetune torchvision:MNIST --model lenet --weights autoencoder.safetensors --load 'conv*'
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.finetuning.autoencoder import files_of, pretrain

    with reporting(quiet=printed.quiet) as reporter:
        if not images:
            reporter.note("No images were named; using torchvision:MNIST.")
        pretrained = pretrain(
            images or "torchvision:MNIST",
            output=output,
            progress=reporter,
            **autoencoder.to_parameters(),
            **network.to_parameters(),
            **training.to_parameters(),
            **rules.to_parameters(),
            **reading.reading(),
        )
    file, image = files_of(output)
    if printed.as_json:
        print_json("pretrain", pretrained.history, weights=str(file), image=str(image))
        return
    last = pretrained.history[-1]
    print(f"{file}: loss {last['train_loss']:.4f}, on held-out images {last['valid_loss']:.4f}")
    print(f"{image}: held-out images, above their reconstructions")
