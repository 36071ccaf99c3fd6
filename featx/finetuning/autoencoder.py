"""Pretraining without labels: a convolutional autoencoder around a network's own layers."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from featx._files import atomic_write
from featx.data.datasets import ImageDataset
from featx.data.images import Images, Pixels
from featx.engine.session import open_session
from featx.errors import DatasetError, TrainingError
from featx.finetuning.checkpoints import Checkpointer
from featx.finetuning.classifier import check_bands
from featx.finetuning.heads import build_network, last_maps
from featx.finetuning.trainer import per_channel
from featx.finetuning.training_loop import TrainingSettings, cuda_indices, run_loop
from featx.networks.configs import find_config
from featx.networks.devices import check_precision, find_device
from featx.networks.network import switch_off_in_place
from featx.networks.network_errors import name_network
from featx.networks.pooling import Tap
from featx.networks.preprocessing import Preprocessing
from featx.networks.tapping import Traced
from featx.streaming.progress import ProgressCallback
from featx.trust.callables import Trust

_MAX_START_SIDE = 8
"""Maximum side of the feature maps that the decoder starts from."""

N_CHANNELS = 64
"""Channels of these feature maps."""

_N_PATCHES = 4
"""Patches along each side that may be masked."""


class _Autoencoder(nn.Module):
    """The layers of a network up to its last feature maps, a bottleneck code, and a decoder."""

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, table: Any, code_size: int = 10
    ) -> None:
        super().__init__()
        layer = last_maps(table)
        if len(layer.shape) != 3:
            raise TrainingError(
                f"{table.model} has no feature maps to encode; expected convolutions."
            )
        names = table.recording.nodes[layer.index].names
        with name_network(table.model, "cannot be traced to a graph", network):
            traced = Traced(network, preprocessing.crop)
            self.encoder = traced.cut([Tap(layer, "flatten", names)])
        self.code = nn.Linear(layer.n_features, code_size)
        self.decoder = _make_decoder(code_size, preprocessing.crop)
        self.preprocessing = preprocessing
        self.register_buffer("mean", per_channel(preprocessing.mean))
        self.register_buffer("std", per_channel(preprocessing.std))

    mean: Tensor
    std: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of the reconstructions of pixels in 0 to 1, shape (n, 3, h, w)."""
        (rows,) = self.encoder((pixels - self.mean) / self.std)
        logits: Tensor = self.decoder(self.code(rows))
        height, width = self.preprocessing.crop
        return logits[..., :height, :width]


@dataclass
class Pretrained:
    """Weights and reconstructions of a pretrained autoencoder.

    Parameters
    ----------
    state : dict of str to Tensor
        The network's own tensors under their own names, then ``code.*`` and ``decoder.*``.
    history : list of dict
        ``epoch``, ``train_loss``, ``valid_loss`` of each epoch.
    grid : ndarray of shape (2 * h, n * w, 3), uint8
        Held-out images, above their reconstructions.
    settings : dict
        Everything that determines the weights.
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
        If the name is not that of a ``.safetensors`` file.
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
    code_size: int = 10,
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
        Labels are ignored; images of a ``test`` split are left out.
    encoder : str, path or torch.nn.Module, default="lenet"
        The network whose layers up to the last feature maps are trained.
    weights : str or path, default="random"
        Initial weights of these layers.
    code_size : int, default=10
    noise : float, default=0
        Standard deviation of the noise added to the input images, which are between 0 and 1 [1]_.
    mask : float, default=0
        Fraction of 4 x 4 patches that are blanked out in them [2]_.
    epochs : int, default=10
    lr : float, default=1e-3
    batch_size : int, default=64
    max_images : int, optional
        Maximum number of images, drawn at random.
    n_shown : int, default=10
        Reconstructions to draw.
    size : int or tuple of int, optional
    precision : {"fp32", "bf16"}, default="fp32"
    device : str, default="auto"
    random_state : int, default=0
    output : path, optional
        File to save the weights in, see `Pretrained.save`.
    checkpoint : path, optional
        Folder to save a checkpoint to after each epoch. After a kill the same call resumes there
        and, on a CPU, reaches the same weights bit for bit.
    progress : ProgressCallback, optional
    trust : path, str, or sequence of these, optional
        As in `featx.extractors.cnn.CNNFeatures`.
    **reading
        ``value_range``, ``window``, ``pages`` and ``bands``, as in `featx.Images`.

    Raises
    ------
    TrainingError
        If the loss is not finite, a checkpoint is of another run, or `output` cannot be written.
    DatasetError
        If there are too few images to train on.

    Notes
    -----
    The loss is the cross-entropy of pixels: with squared errors, dark images such as digits
    drive all outputs to black in the first steps, and they stay there.

    References
    ----------
    .. [1] Vincent et al., "Extracting and Composing Robust Features with Denoising
       Autoencoders", ICML 2008.
    .. [2] Pathak et al., "Context Encoders: Feature Learning by Inpainting", CVPR 2016.

    Examples
    --------
    >>> from featx import load_dataset
    >>> digits = load_dataset("digits").take(range(80))
    >>> pretrained = pretrain(digits, epochs=1, n_shown=4)
    >>> pretrained.grid.shape, pretrained.state["conv1.weight"].shape
    ((56, 112, 3), torch.Size([20, 1, 5, 5]))
    """
    if precision not in _PRECISIONS:
        raise TrainingError(f"precision must be fp32 or bf16; got {precision!r}.")
    check_precision(precision, device)
    if epochs < 1:
        raise TrainingError(f"epochs must be 1 or more; got {epochs}.")
    if output is not None:
        files_of(output)
    dataset, _, progress, _ = open_session(data, progress=progress, **reading)
    check_bands(dataset.images.reading)
    images = _choose(dataset, max_images, random_state)
    settings = {
        name: str(value)
        for name, value in {
            "encoder": encoder, "weights": weights, "size": size, "code_size": code_size,
            "noise": noise, "mask": mask, "epochs": epochs, "lr": lr,
            "batch_size": batch_size, "precision": precision, "random_state": random_state,
        }.items()
    }  # fmt: skip
    n_held_out = max(n_shown, len(images) // 20)
    if len(images) <= n_held_out:
        raise DatasetError(
            f"{dataset.source} has {len(images)} images, of which {n_held_out} are held out to "
            "draw; add images."
        )
    train, held_out = images.take(range(n_held_out, len(images))), images.take(range(n_held_out))
    training_settings = TrainingSettings(
        batch_size=batch_size,
        precision=precision,
        device=find_device(device),
        random_state=random_state,
    )
    with torch.random.fork_rng(devices=cuda_indices(training_settings.device)):
        torch.manual_seed(random_state)
        autoencoder, network = _build(encoder, weights, size, code_size, trust)
    structure = [settings, n_shown, repr(autoencoder), asdict(autoencoder.preprocessing)]
    saved = Checkpointer.of_run(checkpoint, autoencoder, [images], structure)
    history = run_loop(
        autoencoder.to(training_settings.device),
        _PixelPairs(train, autoencoder.preprocessing),
        _PixelPairs(held_out, autoencoder.preprocessing),
        training_settings,
        stage="pretrain",
        n_epochs=epochs,
        groups=[{"params": list(autoencoder.parameters()), "lr": lr}],
        criterion=nn.BCEWithLogitsLoss(),
        checkpoint=saved,
        progress=progress,
        mix=_Corruption(noise, mask),
        stop_early=False,
    )
    shown = held_out.take(range(n_shown))
    pretrained = _finish(autoencoder.to("cpu").eval(), network, history, shown)
    pretrained.settings |= settings | {"n_images": str(len(train))}
    if output is not None:
        pretrained.save(output)
    saved.remove()
    return pretrained


_PRECISIONS = ("fp32", "bf16")


def _make_decoder(code_size: int, crop: tuple[int, int]) -> nn.Sequential:
    """Decoder of a code to logits of pixels of at least a size; each step doubles the side.

    Examples
    --------
    >>> _make_decoder(10, (28, 28))(torch.zeros(1, 10)).shape
    torch.Size([1, 3, 28, 28])
    """
    n_steps = max(1, math.ceil(math.log2(max(crop) / _MAX_START_SIDE)))
    height, width = (math.ceil(side / 2**n_steps) for side in crop)
    steps: list[nn.Module] = [
        nn.Linear(code_size, N_CHANNELS * height * width),
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
    """Images side by side, above their reconstructions: ``(2 * h, n * w, 3)``, uint8."""
    pairs = _PixelPairs(images, autoencoder.preprocessing)
    originals = torch.stack([pairs[i][1] for i in range(len(images))])  # (n, 3, h, w)
    with torch.inference_mode():
        reconstructions = autoencoder(originals).sigmoid()
    rows = [torch.cat(list(part), dim=2) for part in (originals, reconstructions)]
    grid = torch.cat(rows, dim=1).permute(1, 2, 0)  # (2 * h, n * w, 3)
    pixels: Pixels = (grid * 255).round().to(torch.uint8).numpy()
    return np.ascontiguousarray(pixels)


def _choose(dataset: ImageDataset, max_images: int | None, random_state: int) -> Images:
    """Images outside the test split, in random order."""
    indices = np.setdiff1d(np.arange(len(dataset)), dataset.split("test"))
    order = np.random.default_rng(random_state).permutation(indices)[:max_images]
    return dataset.images.take(order.tolist())


def _build(
    encoder: Any, weights: str | os.PathLike[str], size: Any, code_size: int, trust: Trust
) -> tuple[_Autoencoder, nn.Module]:
    config = find_config(encoder, weights=weights, size=size, trust=trust)
    network, _ = build_network(config)
    network = network.eval().float().requires_grad_(True)
    switch_off_in_place(network)
    autoencoder = _Autoencoder(network, config.preprocessing, config.table, code_size)
    return autoencoder, network


def _finish(
    autoencoder: _Autoencoder, network: nn.Module, history: list[dict[str, Any]], shown: Images
) -> Pretrained:
    state = network.state_dict()
    for name in ("code", "decoder"):
        state |= autoencoder.get_submodule(name).state_dict(prefix=f"{name}.")
    columns = ("epoch", "train_loss", "valid_loss", "dur")
    return Pretrained(
        {name: tensor.contiguous() for name, tensor in state.items()},
        [{name: float(row[name]) for name in columns} for row in history],
        _draw_reconstructions(autoencoder, shown),
    )


class _Corruption:
    """Noise and masks on input images in 0 to 1; the targets stay as they are."""

    def __init__(self, noise: float, mask: float) -> None:
        self.noise = noise
        self.mask = mask

    def __call__(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self.noise:
            pixels = (pixels + self.noise * torch.randn_like(pixels)).clamp(0, 1)
        if self.mask:
            is_visible = torch.rand(len(pixels), 1, _N_PATCHES, _N_PATCHES) >= self.mask
            pixels = pixels * nn.functional.interpolate(is_visible.float(), pixels.shape[2:])
        return pixels, targets


class _PixelPairs(Dataset[tuple[Tensor, Tensor]]):
    """Prepared images in 0 to 1, twice: as input and as target."""

    def __init__(self, images: Images, preprocessing: Preprocessing) -> None:
        self.images = images
        self.preprocessing = preprocessing
        self._cached: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index not in self._cached:
            prepared = self.preprocessing.prepare(self.images.pixels(index))
            self._cached[index] = torch.from_numpy(prepared).permute(2, 0, 1)
        pixels = self._cached[index].float() / 255
        return pixels, pixels
