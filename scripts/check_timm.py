"""Layers of every architecture of timm, as featx taps them, against the network as it runs.

    python scripts/check_timm.py [--only swin,eva] [--short] [--markdown FILE]

Of each module of timm's one small network is built with random weights. Every layer that is a
module is tapped by featx and compared with a forward hook of this script on the same images, and
the last layer with ``forward_head(forward_features(x), pre_logits=True)``, blocks with
``forward_intermediates`` where there is one. A row says how many agree and whether they went by
the graph or by hooks; a network that featx refuses is listed with the reason. Exit code 1 if any
value differs.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn

from featx.errors import FeatxError
from featx.extractors.cnn import CNNFeatures
from featx.networks.configs import find_config, list_layers

SHORT = (
    "resnet", "convnext", "vision_transformer", "swin_transformer", "eva", "beit", "deit",
    "efficientnet", "mobilenetv3", "pvt_v2", "levit", "focalnet",
)  # fmt: skip
SMALL = ("atto", "femto", "pico", "nano", "xxtiny", "xxs", "tiny", "_b0", "_t", "_s0", "small")
TOLERANCE = 5e-3
"""Of the largest value: attention of random weights enlarges roundings of the input."""
N_IMAGES, MOST_LAYERS = 2, 60
MOST_PARAMETERS = 100e6

said_hooks: list[str] = []
"""What featx logs where a network is not tapped by its graph."""


class Listener(logging.Handler):
    """Notes that hooks are used."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        if "tapped by hooks" in record.getMessage():
            said_hooks.append(record.getMessage())


@dataclass
class Row:
    """What came of one architecture."""

    module: str
    model: str
    n_layers: int = 0
    n_compared: int = 0
    n_different: int = 0
    tap: str = ""
    last: str = ""
    refused: str = ""
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="modules whose names contain one of these")
    parser.add_argument("--short", action="store_true", help="twelve representatives")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    arguments = parser.parse_args(sys.argv[1:])
    warnings.simplefilter("ignore")
    logging.getLogger("featx").addHandler(Listener())
    logging.getLogger("featx").setLevel(logging.INFO)
    wanted = [word for word in arguments.only.split(",") if word]
    modules = [m for m in timm.list_modules() if not wanted or any(w in m for w in wanted)]
    rows = []
    for module in SHORT if arguments.short else modules:
        model = smallest(module)
        if model is None:
            continue
        row = examine(module, model)
        rows.append(row)
        print(line(row), flush=True)
    different = [row for row in rows if row.n_different or row.last == "differs"]
    n_by_hooks = sum(row.tap == "hooks" for row in rows)
    print(f"\n{len(rows)} architectures: {sum(not row.refused for row in rows)} agree or differ, "
          f"{n_by_hooks} by hooks, {sum(bool(row.refused) for row in rows)} refused, "
          f"{len(different)} with a difference")  # fmt: skip
    if arguments.markdown:
        head = "| architecture | network | layers | compared | by | last layer | refused |\n"
        text = head + "|---|---|---|---|---|---|---|\n" + "\n".join(map(markdown, rows)) + "\n"
        arguments.markdown.write_text(text)
    sys.exit(bool(different))


def smallest(module: str) -> str | None:
    """Name of a small network of a module."""
    names = timm.list_models(module=module)
    marked = [name for mark in SMALL for name in names if mark in name]
    numbered = sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)][:1] or [0])
    for name in [*marked, *numbered]:
        with torch.device("meta"):
            try:
                network = timm.create_model(name)
            except Exception:
                continue
        if sum(p.numel() for p in network.parameters()) <= MOST_PARAMETERS:
            return str(name)
    return None


def examine(module: str, name: str) -> Row:
    """Compare every layer of one network that is a module."""
    row, started = Row(module, name), time.perf_counter()
    said_hooks.clear()
    model = f"timm/{name}"
    try:
        table = list_layers(model)
        config = find_config(model, weights="random")
        network = config.network()
    except FeatxError as error:
        row.refused = str(error)[:120]
        return row
    row.n_layers = len(table)
    images = np.random.default_rng(0).integers(
        0, 256, (N_IMAGES, *config.preprocessing.crop, 3), dtype=np.uint8
    )
    batch = prepared(images, config.preprocessing)
    outputs, rest = run(network.module, batch)
    layers = [layer for layer in table if layer.node in outputs]
    step = max(1, len(layers) // MOST_LAYERS)
    chosen = [layer.node for layer in layers[::step]]
    try:
        features = CNNFeatures(model, [*chosen, "-1"], weights="random", pooling="flatten")
        parts = features.transform(images)
    except FeatxError as error:
        row.refused = str(error)[:120]
        return row
    start = 0
    for layer in chosen:
        width = features.n_features(layer)
        row.n_compared += 1
        row.n_different += not is_same(parts[:, start : start + width], outputs[layer])
        start += width
    row.last = last_of(parts[:, start:], rest)
    if "columns" in row.last:
        pooled = CNNFeatures(model, "-1", weights="random", pooling="gap").transform(images)
        found = last_of(pooled, rest)
        row.last = "agrees once pooled" if found == "agrees" else row.last
    if row.last == "differs" and hasattr(network.module, "head_dist"):
        row.last = "of the first head, where timm's is the mean of two"
    row.tap = "hooks" if said_hooks else "graph"
    row.seconds = time.perf_counter() - started
    return row


def prepared(images: np.ndarray, how: Any) -> torch.Tensor:
    """Images as the network takes them."""
    pixels = np.stack([how.prepare(image) for image in images]).transpose(0, 3, 1, 2)
    mean, std = (torch.tensor(it)[:, None, None] for it in (how.mean, how.std))
    return (torch.from_numpy(pixels).float() / 255 - mean) / std


def run(module: nn.Module, batch: torch.Tensor) -> tuple[dict[str, torch.Tensor], Any]:
    """Output of every module that returns one tensor and runs once, and the last features."""
    outputs: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}
    handles = []
    for path, part in module.named_modules():

        def keep(_: Any, __: Any, output: Any, path: str = path) -> None:
            counts[path] = counts.get(path, 0) + 1
            if isinstance(output, torch.Tensor) and len(output) == len(batch):
                outputs[path] = output.detach().flatten(1).clone()

        handles.append(part.register_forward_hook(keep))
    with torch.no_grad():
        module(batch)
    for handle in handles:
        handle.remove()
    try:
        with torch.no_grad():
            rest = module.forward_head(module.forward_features(batch), pre_logits=True)  # type: ignore[operator]
    except Exception:
        rest = None
    return {path: it for path, it in outputs.items() if path and counts[path] == 1}, rest


def is_same(rows: np.ndarray, expected: torch.Tensor) -> bool:
    """Whether two matrices are equal but for rounding."""
    wanted = expected.numpy()
    if rows.shape != wanted.shape:
        return False
    scale = float(np.abs(wanted).max()) or 1.0
    return bool(np.abs(rows - wanted).max() <= TOLERANCE * scale)


def last_of(rows: np.ndarray, expected: Any) -> str:
    """How the last layer relates to timm's own."""
    if not isinstance(expected, torch.Tensor):
        return "no forward_head"
    wanted = expected.flatten(1)
    if rows.shape != tuple(wanted.shape):
        return f"{rows.shape[1]} columns, timm's {wanted.shape[1]}"
    return "agrees" if is_same(rows, wanted) else "differs"


def line(row: Row) -> str:
    """A row for people."""
    said = row.refused or f"{row.n_compared} compared, {row.n_different} differ, last {row.last}"
    return f"{row.module:26}{row.model:44}{row.n_layers:5} layers  {said} {row.seconds:.1f} s"


def markdown(row: Row) -> str:
    """A row of the table in docs."""
    n_same = row.n_compared - row.n_different
    cells = [row.module, row.model, str(row.n_layers), f"{n_same} of {row.n_compared}", row.tap,
             row.last, row.refused]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
