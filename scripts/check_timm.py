"""Compare the layers of every architecture of timm, as featx extracts them, with the network.

    python scripts/check_timm.py [--only swin,eva] [--short] [--markdown FILE]

For each architecture, one small network is built with random weights. Layers that are modules are
extracted by featx and compared with the outputs that forward hooks see on the same images, and the
last layer with ``forward_head(forward_features(x), pre_logits=True)``. Each row states how many
layers agree and how featx extracted them; for a network that featx does not support, it states the
error. The exit code is 1 if any value differs.
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
"""Relative to the largest value: attention with random weights amplifies rounding errors."""
N_IMAGES, MAX_LAYERS = 2, 60
MAX_PARAMETERS = 100e6

hook_messages: list[str] = []
"""Log messages of featx about networks that it does not tap by their graph."""


class HookListener(logging.Handler):
    """Collects the log messages about hooks."""

    def emit(self, record: logging.LogRecord) -> None:
        """Store the message if it is about hooks."""
        if "tapped by hooks" in record.getMessage():
            hook_messages.append(record.getMessage())


@dataclass
class Row:
    """Result for one architecture."""

    module: str
    model: str
    n_layers: int = 0
    n_compared: int = 0
    n_different: int = 0
    tap: str = ""
    last: str = ""
    error: str = ""
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="check only modules whose name contains one")
    parser.add_argument("--short", action="store_true", help="check only twelve architectures")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    arguments = parser.parse_args(sys.argv[1:])
    warnings.simplefilter("ignore")
    logging.getLogger("featx").addHandler(HookListener())
    logging.getLogger("featx").setLevel(logging.INFO)
    words = [word for word in arguments.only.split(",") if word]
    modules = [m for m in timm.list_modules() if not words or any(word in m for word in words)]
    rows = []
    for module in SHORT if arguments.short else modules:
        model = smallest(module)
        if model is None:
            continue
        row = examine(module, model)
        rows.append(row)
        print(console_line(row), flush=True)
    different = [row for row in rows if row.n_different or row.last == "differs"]
    n_by_hooks = sum(row.tap == "hooks" for row in rows)
    print(f"\n{len(rows)} architectures: {sum(not row.error for row in rows)} compared, "
          f"{n_by_hooks} by hooks, {sum(bool(row.error) for row in rows)} not supported, "
          f"{len(different)} with a difference")  # fmt: skip
    if arguments.markdown:
        header = "| architecture | network | layers | compared | tap | last layer | error |\n"
        text = header + "|---|---|---|---|---|---|---|\n"
        text += "\n".join(map(markdown_line, rows)) + "\n"
        arguments.markdown.write_text(text)
    sys.exit(bool(different))


def smallest(module: str) -> str | None:
    """Return the name of a small network of a module, by the size in its name."""
    names = timm.list_models(module=module)
    small = [name for word in SMALL for name in names if word in name]
    by_number = sorted(
        names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)][:1] or [0]
    )
    for name in [*small, *by_number]:
        with torch.device("meta"):
            try:
                network = timm.create_model(name)
            except Exception:
                continue
        if sum(p.numel() for p in network.parameters()) <= MAX_PARAMETERS:
            return str(name)
    return None


def examine(module: str, name: str) -> Row:
    """Compare the layers of one network that are modules."""
    row, started = Row(module, name), time.perf_counter()
    hook_messages.clear()
    model = f"timm/{name}"
    try:
        table = list_layers(model)
        config = find_config(model, weights="random")
        network = config.network()
    except FeatxError as error:
        row.error = str(error)[:120]
        return row
    row.n_layers = len(table)
    images = np.random.default_rng(0).integers(
        0, 256, (N_IMAGES, *config.preprocessing.crop, 3), dtype=np.uint8
    )
    batch = preprocess(images, config.preprocessing)
    outputs, last_features = run(network.module, batch)
    layers = [layer for layer in table if layer.node in outputs]
    step = max(1, len(layers) // MAX_LAYERS)
    names = [layer.node for layer in layers[::step]]
    try:
        extractor = CNNFeatures(model, [*names, "-1"], weights="random", pooling="flatten")
        features = extractor.transform(images)
    except FeatxError as error:
        row.error = str(error)[:120]
        return row
    start = 0
    for name in names:
        stop = start + extractor.n_features(name)
        row.n_compared += 1
        row.n_different += not is_close(features[:, start:stop], outputs[name])
        start = stop
    row.last = compare_last(features[:, start:], last_features)
    if "columns" in row.last:
        pooled = CNNFeatures(model, "-1", weights="random", pooling="gap").transform(images)
        if compare_last(pooled, last_features) == "agrees":
            row.last = "agrees once pooled"
    if row.last == "differs" and hasattr(network.module, "head_dist"):
        row.last = "agrees with the first classifier; timm averages two"
    row.tap = "hooks" if hook_messages else "graph"
    row.seconds = time.perf_counter() - started
    return row


def preprocess(images: np.ndarray, preprocessing: Any) -> torch.Tensor:
    """Resize, crop and normalize images ``(n, h, w, 3)`` to a batch ``(n, 3, h, w)``."""
    pixels = np.stack([preprocessing.prepare(image) for image in images]).transpose(0, 3, 1, 2)
    mean = torch.tensor(preprocessing.mean)[:, None, None]
    std = torch.tensor(preprocessing.std)[:, None, None]
    return (torch.from_numpy(pixels).float() / 255 - mean) / std


def run(module: nn.Module, batch: torch.Tensor) -> tuple[dict[str, torch.Tensor], Any]:
    """Return the output of every module that runs once and returns one tensor per image.

    The second value is timm's last features; None if the network has no ``forward_head``.
    """
    outputs: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}
    handles = []
    for path, part in module.named_modules():

        def store(_: Any, __: Any, output: Any, path: str = path) -> None:
            counts[path] = counts.get(path, 0) + 1
            if isinstance(output, torch.Tensor) and len(output) == len(batch):
                outputs[path] = output.detach().flatten(1).clone()

        handles.append(part.register_forward_hook(store))
    with torch.no_grad():
        module(batch)
    for handle in handles:
        handle.remove()
    try:
        with torch.no_grad():
            last = module.forward_head(module.forward_features(batch), pre_logits=True)  # type: ignore[operator]
    except Exception:  # Not every network has these methods and this parameter.
        last = None
    return {path: it for path, it in outputs.items() if path and counts[path] == 1}, last


def is_close(rows: np.ndarray, expected: torch.Tensor) -> bool:
    """Return whether two matrices are equal up to rounding."""
    values = expected.numpy()
    if rows.shape != values.shape:
        return False
    scale = float(np.abs(values).max()) or 1.0
    return bool(np.abs(rows - values).max() <= TOLERANCE * scale)


def compare_last(rows: np.ndarray, expected: Any) -> str:
    """Describe how layer ``-1`` relates to timm's last features."""
    if not isinstance(expected, torch.Tensor):
        return "no forward_head"
    flat = expected.flatten(1)
    if rows.shape != tuple(flat.shape):
        return f"{rows.shape[1]} columns, timm's {flat.shape[1]}"
    return "agrees" if is_close(rows, flat) else "differs"


def console_line(row: Row) -> str:
    """Return a row for the console."""
    result = row.error or f"{row.n_compared} compared, {row.n_different} differ, last {row.last}"
    return f"{row.module:26}{row.model:44}{row.n_layers:5} layers  {result} {row.seconds:.1f} s"


def markdown_line(row: Row) -> str:
    """Return a row of the table in docs/timm.md."""
    n_same = row.n_compared - row.n_different
    cells = [row.module, row.model, str(row.n_layers), f"{n_same} of {row.n_compared}", row.tap,
             row.last, row.error]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
