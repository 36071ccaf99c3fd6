"""Train the bundled network: distil any ImageNet teacher on any unlabeled images.

    python scripts/train_featxnet.py --teacher squeezenet1_0.pth --data photos --data more.zip=3 \
        --work work --epochs 50

The teacher looks once at each of `--crop-sets` seeded crops of every image; the student learns
its pooled features, its feature maps, the similarities between images and its class
distribution, from crops that are zoomed, mirrored and recolored. A run that was killed goes on
where it stopped when the same command is given again, to the same weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distillation import GRID, STORED_PX, Collection, CropSets, normalize, say
from featxnet_card import write_model
from torch import nn
from torch.nn import functional

from featx._files import atomic_write
from featx.errors import ModelError
from featx.networks.devices import check_precision
from featx.networks.featxnet import PREPROCESSING, trainable_featxnet, weights_path

TEMPERATURE = 2.0
SMALL_PX = 80
ZOOM_PX = 20  # the student may miss as much of what the teacher saw
WEIGHTS = {
    "maps": 1.0,
    "pooled": 1.0,
    "classes": 0.5,
    "like_pool5": 0.3,
    "like_fc6": 0.3,
    "like_fc7": 0.3,
}
Tensors = dict[str, torch.Tensor]


# ---------------------------------------------------------------------------- losses


def taps(network: nn.Module, images: torch.Tensor) -> Tensors:
    """Return the outputs of the layers that the losses look at."""
    found, value = {}, images
    for name, module in network.named_children():
        value = module(value)
        if name in ("pool5", "relu_widen", "flatten", "fc6", "fc7", "fc8"):
            found[name] = value.float()
    return found


def losses(student: Tensors, teacher: Tensors, scale: Tensors) -> Tensors:
    """Return every loss: features and maps in standard deviations, divergence, similarities."""
    grid = functional.adaptive_avg_pool2d(student["relu_widen"], GRID)
    pooled = teacher["pooled"] / scale["pooled"]
    found = {
        "maps": functional.mse_loss(grid, teacher["grid"] / scale["grid"].view(-1, 1, 1)),
        "pooled": functional.mse_loss(student["flatten"] * scale["grid"] / scale["pooled"], pooled),
        "classes": divergence(student["fc8"], teacher["logits"]),
    }
    seen = {"pool5": student["pool5"].mean((2, 3)), "fc6": student["fc6"], "fc7": student["fc7"]}
    return found | {f"like_{k}": unlikeness(features, pooled) for k, features in seen.items()}


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the divergence of softened class distributions.

    Notes
    -----
    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015. A teacher of
    fewer classes than the student's teaches the first ones.
    """
    student = student[:, : teacher.shape[1]]
    mine, theirs = (functional.log_softmax(x / TEMPERATURE, 1) for x in (student, teacher))
    loss = functional.kl_div(mine, theirs, reduction="batchmean", log_target=True)
    return loss * TEMPERATURE**2


def unlikeness(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return how far the cosines between the images of a batch are off, per variance of theirs.

    Notes
    -----
    After Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, but with
    features centered in the batch and without an image's likeness to itself.
    """
    mine, theirs = (_cosines(x) for x in (student, teacher))
    return functional.mse_loss(mine, theirs) / theirs.var()


def _cosines(features: torch.Tensor) -> torch.Tensor:
    unit = functional.normalize(features - features.mean(0), dim=1)
    return (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)]


def scales(crops: dict[str, np.ndarray]) -> Tensors:
    """Return the standard deviation of each feature of the teacher, pooled and on the grid."""
    found = {}
    for name, axes in (("pooled", (0,)), ("grid", (0, 2, 3))):
        sample = np.asarray(crops[name][::4], np.float32)
        found[name] = torch.from_numpy(sample.std(axes) + 1e-3)
    return found


# ---------------------------------------------------------------------------- augmentation


def augment(
    images: torch.Tensor, teacher: Tensors, side_px: int, rng: torch.Generator
) -> tuple[torch.Tensor, Tensors]:
    """Return zoomed, mirrored, recolored images and the teacher's maps mirrored alike."""
    images = zoom(images, side_px, rng)
    mirrored = (torch.rand(len(images), generator=rng) < 0.5).view(-1, 1, 1, 1)
    images = torch.where(mirrored, images.flip(3), images)
    grid = torch.where(mirrored, teacher["grid"].flip(3), teacher["grid"])
    return recolor(images, rng), teacher | {"grid": grid}


def zoom(images: torch.Tensor, side_px: int, rng: torch.Generator) -> torch.Tensor:
    """Return a random square of the images, at the same place in all, `side_px` a side."""
    side = int(torch.randint(STORED_PX - ZOOM_PX, STORED_PX + 1, (), generator=rng))
    top, left = torch.randint(0, STORED_PX - side + 1, (2,), generator=rng).tolist()
    part = images[:, :, top : top + side, left : left + side].float()
    return functional.interpolate(part, size=side_px, mode="bilinear")


def recolor(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Return images (n, 3, h, w) with light, contrast and saturation changed by up to 30 %."""
    n = len(images)
    light, contrast, color = (torch.rand(3, n, 1, 1, 1, generator=rng) - 0.5) * 0.6 + 1
    images = images * light
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * contrast + middle
    gray = images.mean(1, keepdim=True)
    return ((images - gray) * color + gray).clamp(0, 255)


# ---------------------------------------------------------------------------- training


class Training:
    """Everything that a killed run needs to go on exactly where it was."""

    def __init__(self, args: argparse.Namespace, crop_sets: CropSets) -> None:
        torch.manual_seed(args.seed)
        self.args, self.crop_sets = args, crop_sets
        self.network = trainable_featxnet().to(memory_format=torch.channels_last)
        self.average = trainable_featxnet()
        self.average.load_state_dict(self.network.state_dict())
        groups = _parameter_groups(self.network, args.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=args.lr)
        self.step, self.seconds = 0, 0.0
        self.n_batches = len(crop_sets.load(0)["images"]) // args.batch_size
        self.n_steps = args.epochs * self.n_batches
        self.scale = scales(crop_sets.load(0))
        self.file = args.work / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint: complete, or not at all."""
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in self._parts}
        state |= {"step": self.step, "seconds": self.seconds}
        with atomic_write(self.file) as temporary, temporary.open("wb") as file:
            torch.save(state, file)

    def resume(self) -> None:
        """Take up the checkpoint of an earlier run, where there is one."""
        if not self.file.exists():
            return
        state = torch.load(self.file, weights_only=True)
        for name in self._parts:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]
        say(f"resumed at step {self.step}")

    _parts = ("network", "average", "optimizer")

    def run(self, stop_at: int | None = None) -> None:
        """Train to the last step, or to an earlier one, with a checkpoint every few minutes."""
        before = last_save = time.monotonic()
        for batch in self._batches(min(self.n_steps, stop_at or self.n_steps)):
            parts = self._update(batch)
            self.step += 1
            now = time.monotonic()
            self.seconds, before = self.seconds + now - before, now
            self._report(parts)
            if now - last_save > self.args.checkpoint_s:
                self.save()
                last_save = now
        self.save()

    def _batches(self, last_step: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield what is left of the run; each batch depends on seed and step alone."""
        while self.step < last_step:
            epoch, start = divmod(self.step, self.n_batches)
            crops = self.crop_sets.load(epoch % self.args.crop_sets)
            rng = np.random.default_rng([self.args.seed, epoch])
            order = rng.permutation(len(crops["images"]))
            for i in range(start, min(self.n_batches, start + last_step - self.step)):
                rows = np.sort(order[i * self.args.batch_size : (i + 1) * self.args.batch_size])
                yield {name: array[rows] for name, array in crops.items()}

    def _update(self, batch: dict[str, np.ndarray]) -> dict[str, float]:
        """Learn from one batch; return its losses."""
        rng = torch.Generator().manual_seed(self.args.seed * 1_000_003 + self.step)
        images = torch.from_numpy(batch.pop("images")).permute(0, 3, 1, 2)
        teacher = {name: torch.from_numpy(value).float() for name, value in batch.items()}
        images, teacher = augment(images, teacher, self._side_px(), rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.args.bf16):
            student = taps(self.network, normalize(images))
        found = losses(student, teacher, self.scale)
        self._descend(torch.stack([WEIGHTS[name] * value for name, value in found.items()]).sum())
        return {name: float(value.detach()) for name, value in found.items()}

    def _descend(self, loss: torch.Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self._follow()

    def _rate(self) -> float:
        """Return the learning rate: warm-up, plateau, descent by a power of what is left."""
        warm_up = (self.step + 1) / (self.args.warm_up * self.n_batches)
        left = (self.n_steps - self.step) / (self.n_steps * self.args.descent)
        return float(self.args.lr * min(warm_up, 1.0) * min(left, 1.0) ** self.args.power)

    def _side_px(self) -> int:
        """Return the side of the images: small ones first, for they cost half as much."""
        is_small = self.step < self.args.small_epochs * self.n_batches
        return SMALL_PX if is_small else int(PREPROCESSING["crop"])

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running average of weights and batch statistics, faster at the beginning."""
        share = max(1 - self.args.averaging, 1 / (self.step + 2))
        mine, theirs = self.average.state_dict(), self.network.state_dict()
        for name, value in mine.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], share)

    def _report(self, parts: dict[str, float]) -> None:
        rate = self.seconds / self.step
        left = (self.n_steps - self.step) * rate / 60
        words = " ".join(f"{name} {value:.3f}" for name, value in parts.items())
        progress = f"step {self.step}/{self.n_steps} {rate:.3f} s/step, {left:.0f} min left"
        say(f"{progress}: {words}", every_s=20)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameters with decay (weights) and without (biases, batch norm)."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    decayed = {"params": weights, "weight_decay": weight_decay}
    return [decayed, {"params": others, "weight_decay": 0}]


# ---------------------------------------------------------------------------- command line


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--data",
        action="append",
        required=True,
        metavar="PATH[=WEIGHT]",
        type=_collection,
        help="folder, zip or MNIST file; weight: 3 takes each image thrice, 0.2 a fifth of them",
    )
    add("--teacher", type=Path, required=True, help="weights of the teacher")
    add("--teacher-name", default="squeezenet1_0", help="its name in torchvision.models")
    add("--work", type=Path, required=True, help="folder for crops and checkpoints")
    add("-o", "--output", type=Path, default=weights_path(), help="weights; the card goes beside")
    add("--epochs", type=int, default=26)
    add("--small-epochs", type=int, default=15, help="first epochs, on small images")
    add("--crop-sets", type=int, default=3)
    add("--batch-size", type=int, default=64)
    add("--lr", type=float, default=2e-3)
    add("--weight-decay", type=float, default=0.02)
    add("--warm-up", type=float, default=1.0, help="epochs")
    add("--descent", type=float, default=0.35, help="share of the run in which the rate falls")
    add("--power", type=float, default=3.0, help="of the descent")
    add("--averaging", type=float, default=0.999, help="of the weights that are exported")
    add("--checkpoint-s", type=float, default=120)
    add("--stop-at", type=int, help="stop after this step, as if killed")
    add("--export-only", action="store_true", help="write what the last checkpoint holds")
    add("--remark", default="", help="for the model card, such as what was changed on the way")
    add("--threads", type=int, default=2)
    add("--workers", type=int, default=2, help="processes that decode images")
    add(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        default=has_bf16(),
        help="by default where the processor has it; elsewhere it is three times slower",
    )
    add("--seed", type=int, default=0)
    return parser.parse_args(argv)


def has_bf16() -> bool:
    """Return whether this processor computes with bfloat16 itself."""
    try:
        check_precision("bf16", "cpu")
    except ModelError:
        return False
    return True


def _collection(text: str) -> Collection:
    path, _, weight = text.partition("=")
    return Collection(Path(path), float(weight or 1))


def main(argv: list[str] | None = None) -> None:
    """Train, then write weights and model card; or do either alone."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    crop_sets = CropSets(
        args.data,
        args.work / "crops",
        args.teacher_name,
        args.teacher,
        args.seed,
        args.workers,
        args.bf16,
    )
    training = Training(args, crop_sets)
    training.resume()
    if not args.export_only:
        training.run(args.stop_at)
    write_model(training, args.output, WEIGHTS | {"temperature": TEMPERATURE})


if __name__ == "__main__":
    main()
