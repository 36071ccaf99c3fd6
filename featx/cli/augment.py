"""``featx augment``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from featx.cli import options
from featx.errors import ResultFileError

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@options.expand_groups
def augment_command(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="One image or several.")],
    augmentation: options.AugmentationOptions,
    network: Annotated[options.FeatureOptions, options.Only("model", "size", "trust")],
    rules: options.Seed,
    reading: options.Reading,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Output image (.png or .jpg).")
    ] = "augmented.png",
    n_views: Annotated[
        int | None, typer.Option(help="Number of random views per row. Default: 8.", min=1)
    ] = None,
) -> None:
    """Preview random augmentations of images.

    Each --augment, by default each preset, is a row: the unchanged image, then random views.

    \b
    featx augment cat.jpg -o grid.png
    featx augment cat.jpg dog.jpg --augment strong --augment none,rotation=45 -o grid.png
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    file = options.check_suffix(output, tuple(_FORMATS))
    from PIL import Image

    from featx._files import atomic_write
    from featx.finetuning.augmentation import PRESETS, preview_augmentations

    presets = augmentation.augment or list(PRESETS)
    views: dict[str, Any] = {} if n_views is None else {"n_views": n_views}
    grid = preview_augmentations(
        images,
        presets,
        flip=not augmentation.no_flip,
        **network.to_parameters(),
        **rules.to_parameters(),
        **reading.reading(),
        **views,
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            Image.fromarray(grid).save(temporary, _FORMATS[file.suffix.lower()])
    except OSError as error:
        raise ResultFileError(f"Cannot write {output}: {error.strerror}.") from error
    print(f"{output}: rows {', '.join(presets)}; each starts with the unchanged image")
