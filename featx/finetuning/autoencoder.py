"""Pretraining without labels: a convolutional autoencoder around a network's own layers."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils.data import Dataset

from featx._files import atomic_write
from featx._fingerprints import fingerprint
from featx.data.datasets import ImageDataset
from featx.data.images import Images, Pixels
from featx.engine.session import open_session
from featx.errors import DatasetError, TrainingError
from featx.finetuning.checkpoints import Checkpointer, KeepEachEpoch
from featx.finetuning.classifier import check_bands
from featx.finetuning.heads import build_network, last_maps
from featx.finetuning.trainer import (
    LoopSettings,
    ProgressNet,
    ReportProgress,
    ScheduleRates,
    SeedEachEpoch,
    check_ended,
    devices_of,
)
from featx.networks.configs import find_config
from featx.networks.devices import check_precision, find_device
from featx.networks.module_state import state_digest
from featx.networks.network import switch_off_in_place
from featx.networks.network_errors import name_network
from featx.networks.pooling import Tap
from featx.networks.preprocessing import Preprocessing
from featx.networks.tapping import Traced
from featx.streaming.progress import ProgressCallback
from featx.trust.callables import Trust

_SMALLEST = 8
"""Most places along a side of the maps that the decoder begins with."""
N_CHANNELS = 64
_PATCHES = 4
"""Patches along a side that may be masked."""


class _Autoencoder(nn.Module):
    """The layers of a network up to its last maps, a narrow code, and a decoder.

    Parameters
    ----------
    network : torch.nn.Module
    preprocessing : Preprocessing
    table : LayerTable
        Its layers.
    n_code : int, default=10
        Numbers that an image is brought down to.
    """

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, table: Any, n_code: int = 10
    ) -> None:
        super().__init__()
        layer = last_maps(table)
        if len(layer.shape) != 3:
            raise TrainingError(f"{table.model} has no maps to code; expected convolutions.")
        names = table.recording.nodes[layer.index].names
        with name_network(table.model, "cannot be traced to a graph", network):
            traced = Traced(network, preprocessing.crop)
            self.encoder = traced.cut([Tap(layer, "flatten", names)])
        self.code = nn.Linear(layer.n_features, n_code)
        self.decoder = _make_decoder(n_code, preprocessing.crop)
        self.preprocessing = preprocessing
        self.register_buffer("mean", _column(preprocessing.mean))
        self.register_buffer("std", _column(preprocessing.std))

    mean: Tensor
    std: Tensor

    def forward(self, shares: Tensor) -> Tensor:
        """Logits of the pixels ``(n, 3, h, w)`` decoded from the codes of images in 0 to 1."""
        (rows,) = self.encoder((shares - self.mean) / self.std)
        maps: Tensor = self.decoder(self.code(rows))
        height, width = self.preprocessing.crop
        return maps[..., :height, :width]


@dataclass
class Pretrained:
    """What pretraining left.

    Parameters
    ----------
    state : dict of str to Tensor
        The network's own tensors under their own names, then ``code.*`` and ``decoder.*``.
    history : list of dict
        ``epoch``, ``train_loss``, ``valid_loss`` of each epoch.
    grid : ndarray of shape (2 * h, n * w, 3), uint8
        Images that were left out, above what was made of them.
    settings : dict
        Everything that fixes the weights.
    """

    state: dict[str, Tensor]
    history: list[dict[str, Any]]
    grid: Pixels
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the weights (``.safetensors``) and the reconstructions beside them (``.png``).

        Raises
        ------
        TrainingError
            If they cannot be written.
        """
        from PIL import Image
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path, image = files_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as weights, atomic_write(image) as grid:
                save_file(self.state, weights, {key: str(v) for key, v in self.settings.items()})
                Image.fromarray(self.grid).save(grid, "PNG")
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"Cannot write {path}: {error}.") from error
        return path, image


def files_of(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Files of the weights and of the reconstructions.

    Raises
    ------
    TrainingError
        If weights are not saved under such a name.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise TrainingError(f"{path}: weights are saved as .safetensors; name such a file.")
    if path.is_dir():
        raise TrainingError(f"{path} is a folder; name a file.")
    return path, path.with_suffix(".png")


def pretrain(
    data: Any,
    *,
    encoder: Any = "lenet",
    weights: str | os.PathLike[str] = "random",
    n_code: int = 10,
    noise: float = 0.0,
    mask: float = 0.0,
    epochs: int = 10,
    lr: float = 1e-3,
    batch_size: int = 64,
    max_images: int | None = None,
    n_shown: int = 10,
    size: int | tuple[int, int] | None = None,
    precision: str = "fp32",
    device: str = "auto",
    random_state: int = 0,
    output: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: ProgressCallback | None = None,
    trust: Trust = None,
    **reading: Any,
) -> Pretrained:
    """Train a convolutional autoencoder on images without labels.

    Parameters
    ----------
    data : str, path, list of these, or ImageDataset
        Labels are not looked at; images of a ``test`` split are left out.
    encoder : str, path or torch.nn.Module, default="lenet"
        The network whose layers up to the last maps are trained.
    weights : str or path, default="random"
        What they begin with.
    n_code : int, default=10
    noise : float, default=0
        Standard deviation of the noise added to the input images, which are between 0 and 1 [1]_.
    mask : float, default=0
        Share of 4 x 4 patches that are blanked out in them [2]_.
    epochs : int, default=10
    lr : float, default=1e-3
    batch_size : int, default=64
    max_images : int, optional
        Take so many at random.
    n_shown : int, default=10
        Reconstructions to draw.
    size : int or tuple of int, optional
    precision : {"fp32", "bf16"}, default="fp32"
    device : str, default="auto"
    random_state : int, default=0
    output : path, optional
        File to save the weights in, see `Pretrained.save`.
    checkpoint : path, optional
        Folder to keep the state of each epoch in. The same call goes on from there after a kill,
        to the same weights bit for bit, on a processor.
    progress : ProgressCallback, optional
    trust : path, str, or sequence of these, optional
        As in `featx.extractors.cnn.CNNFeatures`.
    **reading
        ``value_range``, ``window``, ``pages`` and ``bands``, as in `featx.Images`.

    Raises
    ------
    TrainingError
        If the loss is not finite, a checkpoint is another run's, or `output` cannot be written.
    DatasetError
        If there are no images but those to draw.

    Notes
    -----
    The loss is the cross-entropy of pixels: with squared errors, dark images such as digits
    drive all outputs to black in the first steps, where they stay.

    References
    ----------
    .. [1] Vincent et al., "Extracting and Composing Robust Features with Denoising
       Autoencoders", ICML 2008.
    .. [2] Pathak et al., "Context Encoders: Feature Learning by Inpainting", CVPR 2016.

    Examples
    --------
    >>> from featx import load_dataset
    >>> digits = load_dataset("digits").take(range(80))
    >>> found = pretrain(digits, epochs=1, n_shown=4)
    >>> found.grid.shape, found.state["conv1.weight"].shape
    ((56, 112, 3), torch.Size([20, 1, 5, 5]))
    """
    if precision not in _PRECISIONS:
        raise TrainingError(f"precision is fp32 or bf16; got {precision!r}.")
    check_precision(precision, device)
    if epochs < 1:
        raise TrainingError(f"epochs must be 1 or more; got {epochs}.")
    if output is not None:
        files_of(output)
    dataset, _, progress, _ = open_session(data, progress=progress, **reading)
    check_bands(dataset.images.reading)
    images = _choose(dataset, max_images, random_state)
    settings = {k: str(v) for k, v in locals().items() if k in SETTINGS}
    n_left = max(n_shown, len(images) // 20)
    if len(images) <= n_left:
        raise DatasetError(
            f"{dataset.source}: {len(images)} images, of which {n_left} are left out to draw; "
            "give more."
        )
    with torch.random.fork_rng(devices=devices_of(find_device(device))):
        torch.manual_seed(random_state)
        autoencoder, network = _build(encoder, weights, size, n_code, trust)
        train, left = images.take(range(n_left, len(images))), images.take(range(n_left))
        kept = _checkpointer(checkpoint, autoencoder, images, [settings, n_shown])
        history = _train(
            autoencoder,
            _Shares(train, autoencoder.preprocessing),
            _Shares(left, autoencoder.preprocessing),
            LoopSettings(
                batch_size=batch_size,
                precision=precision,
                device=find_device(device),
                random_state=random_state,
            ),
            _Changes(noise, mask),
            epochs,
            lr,
            kept,
            progress,
        )
    autoencoder.to("cpu").eval()
    state = _state_of(autoencoder, network)
    grid = _draw_reconstructions(autoencoder, left.take(range(n_shown)))
    found = Pretrained(state, history, grid, settings | {"n_images": str(len(train))})
    if output is not None:
        found.save(output)
    if kept is not None:
        kept.remove()
    return found


SETTINGS = (
    *("encoder", "weights", "size", "n_code", "noise", "mask"),
    *("epochs", "lr", "batch_size", "precision", "random_state"),
)
_STAGE = "pretrain"
_PRECISIONS = ("fp32", "bf16")


def _make_decoder(n_code: int, crop: tuple[int, int]) -> nn.Sequential:
    """From a code to logits of pixels of at least a size, doubling the side at each step.

    Examples
    --------
    >>> _make_decoder(10, (28, 28))(torch.zeros(1, 10)).shape
    torch.Size([1, 3, 28, 28])
    """
    n_steps = max(1, math.ceil(math.log2(max(crop) / _SMALLEST)))
    height, width = (math.ceil(side / 2**n_steps) for side in crop)
    steps: list[nn.Module] = [
        nn.Linear(n_code, N_CHANNELS * height * width),
        nn.ReLU(),
        nn.Unflatten(1, (N_CHANNELS, height, width)),
    ]
    n_in = N_CHANNELS
    for step in range(n_steps):
        n_out = 3 if step == n_steps - 1 else max(16, n_in // 2)
        steps += [nn.Upsample(scale_factor=2), nn.Conv2d(n_in, n_out, 3, padding=1)]
        steps += [] if n_out == 3 else [nn.ReLU()]
        n_in = n_out
    return nn.Sequential(*steps)


def _draw_reconstructions(autoencoder: _Autoencoder, images: Images) -> Pixels:
    """Images side by side, above what is made of them: ``(2 * h, n * w, 3)``, uint8."""
    prepared = _Shares(images, autoencoder.preprocessing)
    shares = torch.stack([prepared[i][1] for i in range(len(images))])  # (n, 3, h, w)
    with torch.inference_mode():
        made = autoencoder(shares).sigmoid()
    rows = [torch.cat(list(part), dim=2) for part in (shares, made)]  # (3, h, n * w) each
    grid = torch.cat(rows, dim=1).permute(1, 2, 0)
    pixels: Pixels = (grid * 255).round().to(torch.uint8).numpy()
    return np.ascontiguousarray(pixels)


def _choose(dataset: ImageDataset, max_images: int | None, random_state: int) -> Images:
    """Images outside the test split, in random order."""
    indices = np.setdiff1d(np.arange(len(dataset)), dataset.split("test"))
    order = np.random.default_rng(random_state).permutation(indices)[:max_images]
    return dataset.images.take(order.tolist())


def _build(
    encoder: Any, weights: str | os.PathLike[str], size: Any, n_code: int, trust: Trust
) -> tuple[_Autoencoder, nn.Module]:
    plan = find_config(encoder, weights=weights, size=size, trust=trust)
    network, _ = build_network(plan)
    network = network.eval().float().requires_grad_(True)
    switch_off_in_place(network)
    autoencoder = _Autoencoder(network, plan.preprocessing, plan.table, n_code)
    return autoencoder, network


def _checkpointer(
    folder: str | os.PathLike[str] | None, autoencoder: _Autoencoder, images: Images, settings: Any
) -> Checkpointer | None:
    """The checkpoint of exactly this run; None where none is kept."""
    if folder is None:
        return None
    digests = [images.digest(i) for i in range(len(images))]
    structure = [repr(autoencoder), asdict(autoencoder.preprocessing), state_digest(autoencoder)]
    reading = images.reading.settings()
    return Checkpointer(folder, fingerprint([settings, structure, digests, reading]))


def _state_of(autoencoder: _Autoencoder, network: nn.Module) -> dict[str, Tensor]:
    """The network's own tensors under their own names, then those of code and decoder."""
    state = network.state_dict()
    for name in ("code", "decoder"):
        state |= autoencoder.get_submodule(name).state_dict(prefix=f"{name}.")
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _train(
    autoencoder: _Autoencoder,
    train: Dataset[Any],
    left: Dataset[Any],
    settings: LoopSettings,
    changes: _Changes,
    epochs: int,
    lr: float,
    checkpoint: Checkpointer | None,
    progress: ProgressCallback,
) -> list[dict[str, Any]]:
    def make_optimizer(groups: Any, **more: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam(groups, **more)
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
        return optimizer

    callbacks: list[Any] = [
        ("seeds", SeedEachEpoch(settings.random_state, _STAGE)),
        ("rates", ScheduleRates(settings, epochs, len(train))),  # type: ignore[arg-type]
    ]
    if checkpoint is not None:
        callbacks.append(("checkpoint", KeepEachEpoch(checkpoint, autoencoder, _STAGE, epochs)))
    net = ProgressNet(
        autoencoder,
        criterion=nn.BCEWithLogitsLoss,
        optimizer=make_optimizer,
        lr=lr,
        max_epochs=epochs,
        batch_size=settings.batch_size,
        iterator_train__shuffle=True,
        train_split=predefined_split(left),
        callbacks=[*callbacks, ("tell", ReportProgress(progress, _STAGE, epochs, len(train)))],  # type: ignore[arg-type]
        callbacks__print_log=None,
        device=settings.device,
        verbose=0,
    )
    net.mix, net.precision = changes, settings.precision
    net.initialize()
    net.partial_fit(train, None)
    check_ended(net, epochs)
    names = ("epoch", "train_loss", "valid_loss", "dur")
    return [{name: float(row[name]) for name in names} for row in net.history]


class _Changes:
    """Noise and masks on images between 0 and 1."""

    def __init__(self, noise: float, mask: float) -> None:
        self.noise = noise
        self.mask = mask

    def __call__(self, shares: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """What goes in, changed; what is wanted stays."""
        if self.noise:
            shares = (shares + self.noise * torch.randn_like(shares)).clamp(0, 1)
        if self.mask:
            kept = (torch.rand(len(shares), 1, _PATCHES, _PATCHES) >= self.mask).float()
            shares = shares * nn.functional.interpolate(kept, shares.shape[2:])
        return shares, wanted


class _Shares(Dataset[tuple[Tensor, Tensor]]):
    """Prepared images between 0 and 1, twice: what goes in, and what is wanted."""

    def __init__(self, images: Images, preprocessing: Preprocessing) -> None:
        self.images = images
        self.preprocessing = preprocessing
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index not in self._kept:
            prepared = self.preprocessing.prepare(self.images.pixels(index))
            self._kept[index] = torch.from_numpy(prepared).permute(2, 0, 1)
        shares = self._kept[index].float() / 255
        return shares, shares


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[:, None, None]
