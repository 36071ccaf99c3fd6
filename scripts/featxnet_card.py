"""Write the bundled network's weights and its model card; put the card into prose.

    python scripts/featxnet_card.py > docs/featxnet.md

The card is data (``featx/networks/data/featxnet.json``): `write_model` fills it at the end of the
training, ``scripts/evaluate_featxnet.py --card`` adds the measured table.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from distillation import STORED_PX, Collection, normalize, say
from safetensors.torch import save_file
from torch import nn

from featx._fingerprints import digest_bytes
from featx.networks.featxnet import (
    PREPROCESSING,
    _fold_batch_norm,
    featxnet,
    load_card,
)

if TYPE_CHECKING:
    from train_featxnet import Training

STATISTICS_OF = ("pool1", "pool2", "pool5", "fc6", "fc7")
N_FOR_STATISTICS = 2048
OPTIONS = (
    *("epochs", "small_epochs", "crop_sets", "batch_size", "lr", "weight_decay"),
    *("warm_up", "descent", "power", "averaging", "bf16", "seed"),
)


def write_model(training: Training, target: Path, losses: dict[str, float]) -> None:
    """Write weights (half precision), model card and digests of the images, side by side."""
    network = _fold_batch_norm(training.average)
    target.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(state, target)
    network.load_state_dict({name: value.float() for name, value in state.items()})
    _write_image_digests(training, target.with_suffix(".images.npy"))
    card = _card(training, network, losses) | {"weights_digest": digest_bytes(target.read_bytes())}
    write_card(card, target.with_suffix(".json"))
    say(f"wrote {target} ({target.stat().st_size / 1e6:.2f} MB)")


def write_card(card: dict[str, Any], file: Path) -> None:
    """Write a model card as JSON, lists of numbers on one line."""
    statistics = {k: json.dumps(v) for k, v in card.get("feature_statistics", {}).items()}
    text = json.dumps(card | {"feature_statistics": statistics}, indent=1)
    for words in statistics.values():
        text = text.replace(json.dumps(words), words)
    file.write_text(text + "\n", encoding="utf-8")


def _card(training: Training, network: nn.Module, losses: dict[str, float]) -> dict[str, Any]:
    args = training.args
    return {
        "name": "featxnet",
        "licence": "BSD-3-Clause",
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "preprocessing": PREPROCESSING,
        "trained_on": [_collection_card(c, args.seed) for c in args.data],
        "teacher": _teacher_card(args.teacher_name, args.teacher),
        "losses": losses,
        "options": {name: getattr(args, name) for name in OPTIONS},
        "remark": args.remark,
        "n_steps": training.step,
        "minutes": round(training.seconds / 60, 1),
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "n_threads": args.threads,
        "feature_statistics": _statistics(network, training.crop_sets.load(0)["images"]),
    }


def _teacher_card(name: str, weights: Path) -> dict[str, str]:
    return {"name": name, "weights_digest": digest_bytes(weights.read_bytes())}


def _collection_card(collection: Collection, seed: int) -> dict[str, Any]:
    digests = collection.digests(seed)
    return {
        "name": collection.path.name,
        "n_images": len(digests),
        "weight": collection.weight,
        "digest": digest_bytes("\n".join(digests).encode()),
    }


def _write_image_digests(training: Training, file: Path) -> None:
    """Write the first eight bytes of each image's digest as sorted 64-bit numbers."""
    args = training.args
    digests = {d[:16] for c in args.data for d in c.digests(args.seed)}
    np.save(file, np.array(sorted(int(d, 16) for d in digests), np.uint64))


def _statistics(network: nn.Module, images: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Return mean and deviation of each channel, averaged over places, on training images."""
    rows = np.linspace(0, len(images) - 1, min(N_FOR_STATISTICS, len(images))).astype(int)
    margin = (STORED_PX - PREPROCESSING["crop"]) // 2
    found: dict[str, list[torch.Tensor]] = {name: [] for name in STATISTICS_OF}
    for part in np.array_split(rows, max(1, len(rows) // 64)):
        cut = torch.from_numpy(images[part]).permute(0, 3, 1, 2)
        for name, value in _pooled(network, normalize(cut[..., margin:-margin, margin:-margin])):
            found[name].append(value)
    joined = {name: torch.cat(values) for name, values in found.items()}
    return {
        name: {"mean": _rounded(x.mean(0)), "std": _rounded(x.std(0))} for name, x in joined.items()
    }


@torch.inference_mode()
def _pooled(network: nn.Module, value: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    found = []
    for name, module in network.named_children():
        value = module(value)
        if name in STATISTICS_OF:
            found.append((name, value.flatten(2).mean(2) if value.ndim > 2 else value))
    return found


def _rounded(values: torch.Tensor) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]


# ---------------------------------------------------------------------------- prose


PROSE = """\
# Model card: featxnet

The network that comes with featx, for features without a download. It is built like AlexNet, so
that the names of the literature fit: {layers}.
It has {n_parameters:,} parameters, takes {crop} px images and is stored in half precision as
safetensors. It was distilled from `{teacher}` (ImageNet) on {n_images:,} unlabelled images in
{minutes:.0f} minutes.

`featx/networks/data/featxnet.json` holds this card as data, with the mean and deviation of each
channel on the training images; `featxnet.images.npy` beside it holds the digests of those
images.

## What it is good for

Trying featx out, teaching, tests, machines without a network; photographs of objects, plants,
animals and scenes, a few hundred to a few thousand of them, with a linear classifier on `pool5`,
`fc6` or `fc7`. Averaging over places (`--pooling gap`) suits small collections.

## What it is not good for

The best accuracy there is: it stays behind its teacher, and far behind today's large networks. It
knows the world of its images: web photographs, mostly of one object, some drawings, few digits.
Medical, microscopic, aerial images and text are foreign to it. `fc8` is an approximate
distribution over the 1,000 ImageNet classes, no classifier to rely on. Nothing was done against
the biases of its teacher and its images. Do not use it to identify people.

## Trained on

{sources}

A weight of 3 takes each image three times per epoch, one below 1 a seeded share of them. The
digest is that of the sorted digests of the images used.

## How

Teacher: `{teacher}`, weights `{teacher_digest}`. It looked once at each of
{crop_sets} seeded crops of every image (30 to 100 % of its area). The student saw the same crops
zoomed, mirrored, and with light, contrast and saturation changed by up to 30 %, and learned, with
these weights:

{losses}

- `maps`: squared error of the last maps on a 4 x 4 grid, in standard deviations of the teacher's;
- `pooled`: the same of these maps averaged over places, which `fc6` starts as a copy of;
- `classes`: divergence of the class distributions at temperature {temperature:g};
- `like_*`: squared error of the cosines between the images of a batch, at that layer.

AdamW, {n_steps:,} steps on {n_threads} thread(s) of a CPU, first on smaller images; the running
average of the weights is what is exported, batch norm folded into the convolutions.

{options}

{remark}

## Measured

Logistic regression on frozen features (standardised, C = 0.1), maps averaged over places, on
images that were not trained on: flowers17 (40 train and 40 test per class) and ants_bees (its
own folders), 5 seeds; beside each accuracy half its 95 % interval. Purity: the share of an
image's ten nearest others, by cosine, that are of its class. Random weights have the same
architecture and no training.

{table}

## Make it anew

```bash
python scripts/train_featxnet.py --teacher squeezenet1_0-imagenet.pth \\
{data} \\
    --work work {command}
python scripts/evaluate_featxnet.py --data flowers17 --data ants_bees \\
    --teacher squeezenet1_0-imagenet.pth --card
python scripts/featxnet_card.py > docs/featxnet.md
```

Weights: digest `{weights_digest}`, {date}, PyTorch {torch}. Licence: {licence}.
"""


def as_prose(card: dict[str, Any]) -> str:
    """Return the model card in Markdown."""
    options, sources = card["options"], card["trained_on"]
    names = [name for name, _ in featxnet().named_children() if name[:2] in ("co", "po", "fc")]
    losses = {k: v for k, v in card["losses"].items() if k != "temperature"}
    words = {
        "layers": ", ".join(names),
        "crop": card["preprocessing"]["crop"],
        "teacher": card["teacher"]["name"],
        "teacher_digest": card["teacher"]["weights_digest"],
        "n_images": sum(source["n_images"] for source in sources),
        "sources": _markdown([SOURCE_HEADS, *([s[h] for h in SOURCE_HEADS] for s in sources)]),
        "crop_sets": options["crop_sets"],
        "losses": _markdown([list(losses), list(losses.values())]),
        "temperature": card["losses"]["temperature"],
        "options": _markdown([list(options), list(options.values())]),
        "table": as_table(card["table"]) if "table" in card else "Not measured yet.",
        "data": " \\\n".join(f"    --data {s['name']}={s['weight']:g}" for s in sources),
        "command": _command(options),
    }
    return PROSE.format(**(card | words))


SOURCE_HEADS = ["name", "n_images", "weight", "digest"]


def _command(options: dict[str, Any]) -> str:
    said = {name: value for name, value in options.items() if not isinstance(value, bool)}
    return " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in said.items())


def as_table(rows: list[dict[str, Any]]) -> str:
    """Return the measured rows as a table in Markdown."""
    tasks = list(rows[0]["accuracy"])
    heads = ["features"] + [word for t in tasks for word in (t, "purity")]
    lines = [heads]
    for row in rows:
        cells = [row["name"]]
        for task in tasks:
            cells.append(f"{row['accuracy'][task]:.3f} ± {row['interval'][task]:.3f}")
            cells.append(f"{row['purity'][task]:.2f}")
        lines.append(cells)
    return _markdown(lines)


def _markdown(rows: list[list[Any]]) -> str:
    """Return a table in Markdown, the first row its head."""
    head, *rest = [[str(cell) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    print(as_prose(load_card()), end="")
