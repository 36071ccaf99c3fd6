"""``featx augment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featx.cli import options


def augment_command(
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE", help="One or several.")],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The grid, a .png or .jpg.")
    ] = "augmented.png",
    augment: Annotated[
        list[str] | None,
        typer.Option(help="A preset and changes to it, as strong,mixup=0; repeat. All presets."),
    ] = None,
    model: Annotated[str, typer.Option(help="Whose size of pictures.")] = "featxnet",
    size: Annotated[int | None, typer.Option(help="Side of the pictures in px.", min=1)] = None,
    n_views: Annotated[int, typer.Option(help="Pictures in a row.", min=1)] = 8,
    no_flip: Annotated[bool, typer.Option("--no-flip", help="Mirror no picture.")] = False,
    random_state: options.Seed = 0,
) -> None:
    """What augmentation does to a picture: a row for each preset, the picture itself first.

    \b
    featx augment cat.jpg -o grid.png
    featx augment cat.jpg dog.jpg --augment strong --augment none,rotation=45 -o grid.png
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from PIL import Image

    from featx.finetuning.augmentation import PRESETS, Augmentation, draw_grid
    from featx.images import Images
    from featx.models.sources import find_source

    chosen = augment or list(PRESETS)
    augmentations = [Augmentation.parse(text, flip=not no_flip) for text in chosen]
    images = Images(pictures)
    grid = draw_grid(
        [images.pixels(i) for i in range(len(images))],
        augmentations,
        find_source(model).preprocessing().override(size=size),
        n_views=n_views,
        random_state=random_state or 0,
    )
    if Path(output).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise typer.BadParameter(f"-o takes a .png or .jpg; got {output!r}.")
    Image.fromarray(grid).save(output)
    print(f"{output}: rows {', '.join(chosen)}; the picture itself first")
