"""Networks that are not featx's or torchvision's: timm's, a folder's, a callable's, an object."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from featx.errors import ModelError, WeightsError
from featx.fingerprints import DIGEST_BYTES, fingerprint
from featx.models.heads import operate
from featx.models.preprocessing import Preprocessing
from featx.models.sources import DEFAULT, RANDOM, Source, Weights

N_SAMPLED = 8


class ModuleSource(Source):
    """A module object: featx works on a copy and leaves the object alone.

    Its preprocessing is that of ImageNet unless it has an attribute ``preprocessing``, a
    dictionary or a `Preprocessing`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(type(module).__name__)
        self.module = module

    @property
    def identity(self) -> str:
        """Class and structure of the module."""
        kind = type(self.module)
        return f"{kind.__module__}.{kind.__qualname__}:{fingerprint(repr(self.module))}"

    def build(self, weights: Weights) -> nn.Module:
        """A copy of the module without its hooks; drawn anew where weights are random."""
        module = copy_module(self.module)
        return module.apply(_reset) if weights.name == RANDOM else module

    def published(self, wish: str) -> Weights:
        """The module's own parameters."""
        if wish != DEFAULT:
            raise WeightsError(f"A module object has no weights {wish!r}; it has its own.")
        digest = f"state:{state_digest(self.module)}"
        return Weights(f"{self.name} as given", digest, self.preprocessing())

    def preprocessing(self) -> Preprocessing:
        """What the module says, else ImageNet's."""
        return _preprocessing_of(self.module)


def _reset(module: nn.Module) -> None:
    for name in ("reset_parameters", "_reset_parameters"):
        reset: Any = getattr(module, name, None)
        if reset is None:
            continue
        try:
            reset()
        except TypeError as error:
            raise ModelError(
                f"{type(module).__name__}.{name} wants arguments; random weights need one without."
            ) from error


class CallableSource(ModuleSource):
    """A module that a callable of an importable package returns: ``package.module:callable``.

    What it returns is taken as trained, as `ModuleSource` takes a module.

    Raises
    ------
    ModelError
        If there is no such callable, or it returns no module.
    """

    def __init__(self, name: str) -> None:
        super().__init__(_call(name))
        self.name = name


FOLDER_FILES = ("model.json", "weights.safetensors")
"""What a model's folder holds: what it is, and its weights."""


class FolderSource(Source):
    """A folder with ``model.json`` and ``weights.safetensors``, as ``featx finetune`` writes it.

    ``model.json`` names the network that the weights fit (``model``), and what a picture goes
    through (``preprocessing``), with ``n_classes`` of its head, or the ``surgeries`` that made
    it (see `featx.models.heads.operate`).

    Parameters
    ----------
    name : str
        The folder.
    resolve : callable
        Gives the source of the network that ``model.json`` names.
    """

    def __init__(self, name: str, *, resolve: Callable[[str], Source]) -> None:
        super().__init__(name)
        self.folder = Path(name).expanduser()
        self.card: dict[str, Any] = json.loads((self.folder / FOLDER_FILES[0]).read_text("utf-8"))
        self._resolve = resolve

    @property
    def identity(self) -> str:
        """The network that the folder's weights are for."""
        done = f":{fingerprint(self.surgeries)}" if self.surgeries else ""
        return f"folder:{self.card['model']}:{self.card.get('n_classes')}{done}"

    @property
    def surgeries(self) -> list[dict[str, Any]]:
        """What was done to the network that the folder names, in order."""
        return list(self.card.get("surgeries", ()))

    def options(self, preprocessing: Preprocessing) -> dict[str, Any]:
        """What the network that the folder names is built with."""
        return self._resolve(self.card["model"]).options(preprocessing)

    def build(self, weights: Weights) -> nn.Module:
        """The network, with a head for the folder's classes."""
        network = self._resolve(self.card["model"]).build(weights)
        if self.surgeries:
            return operate(network, self.surgeries)
        n_classes = self.card.get("n_classes")
        return replace_head(network, n_classes) if n_classes else network

    def published(self, wish: str) -> Weights:
        """The folder's weights."""
        if wish != DEFAULT:
            raise WeightsError(f"{self.name} has no weights {wish!r}; it has its own.")
        return self.of_file(str(self.folder / FOLDER_FILES[1]))

    def preprocessing(self) -> Preprocessing:
        """What ``model.json`` says, else ImageNet's."""
        return _preprocessing(self.card.get("preprocessing"))


class TimmSource(Source):
    """A network of timm: ``timm/NAME``.

    Raises
    ------
    ModelError
        If timm is not installed, or has none of that name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._timm = timm = import_timm(name)
        self._timm_name = name.removeprefix("timm/")
        if not timm.is_model(self._timm_name):
            raise ModelError(f"Model {name!r} is not known to timm {timm.__version__}.")

    def build(self, weights: Weights) -> nn.Module:
        """The network, without its weights."""
        return self._timm.create_model(self._timm_name, pretrained=False)

    def published(self, wish: str) -> Weights:
        """timm's default weights, or those of a tag such as ``a1_in1k``."""
        name = self._timm_name if wish == DEFAULT else f"{self._timm_name.split('.')[0]}.{wish}"
        config = self._timm.get_pretrained_cfg(name)
        if config is None or not config.has_weights:
            raise WeightsError(f"timm has no weights {wish!r} for {self.name}.")
        return Weights(
            name=f"timm/{config.architecture}.{config.tag}",
            digest=f"timm:{config.architecture}.{config.tag}",
            preprocessing=_timm_preprocessing(self._timm, config),
            read=lambda: self._download(name, config),
            url=config.url or f"https://huggingface.co/{config.hf_hub_id}",
        )

    def preprocessing(self) -> Preprocessing:
        """What timm's default weights expect."""
        return _timm_preprocessing(self._timm, self._timm.get_pretrained_cfg(self._timm_name))

    def _download(self, name: str, config: Any) -> dict[str, torch.Tensor]:
        try:
            return dict(self._timm.create_model(name, pretrained=True).state_dict())
        except Exception as error:  # huggingface_hub raises many kinds for no network.
            where = config.url or f"https://huggingface.co/{config.hf_hub_id}"
            raise WeightsError(
                f"Weights {config.architecture}.{config.tag} are not on this machine and cannot "
                f"be downloaded. Fetch model.safetensors from {where} elsewhere, and give it: "
                "weights=FILE.safetensors."
            ) from error


def _call(name: str) -> nn.Module:
    """What the callable of a name returns."""
    package, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(package)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"Model {name!r} cannot be imported: {error}.") from error
    module = found if isinstance(found, nn.Module) else found()
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name} gave {type(module).__name__}; wanted an nn.Module.")
    return module


def import_timm(name: str) -> Any:
    """The timm package.

    Raises
    ------
    ModelError
        If it is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(
            f'{name} needs timm, which is not installed: pip install "featx[timm]".'
        ) from error


def copy_module(module: nn.Module, *, on_meta: bool = False) -> nn.Module:
    """Copy of a module without its hooks, in eval mode; with `on_meta` one without values.

    Raises
    ------
    ModelError
        If the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        value = parameter.detach()
        value = value.to("meta") if on_meta else value.clone()
        memo[id(parameter)] = nn.Parameter(value, requires_grad=False)
    if on_meta:
        memo |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    try:
        copied = copy.deepcopy(module, memo)
    except Exception as error:  # Whatever a user's class raises in its own __deepcopy__.
        raise ModelError(f"{type(module).__name__} cannot be copied: {error}") from error
    for part in copied.modules():
        part._forward_hooks.clear()
        part._backward_hooks.clear()
    return copied.eval()


def state_digest(module: nn.Module) -> str:
    """Digest of every parameter and buffer of a module."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            hasher.update(flat.view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def state_stamp(module: nn.Module) -> list[Any]:
    """What changes when a module's values do, at a fraction of the digest's cost.

    Place and version of every tensor, and a few of its values: an optimiser that writes to
    ``.data`` leaves the version as it is.
    """
    stamp: list[Any] = [repr(module)]
    for tensor in module.state_dict().values():
        if isinstance(tensor, torch.Tensor) and tensor.numel():
            flat = tensor.detach().reshape(-1)
            few = flat[:: max(1, flat.numel() // N_SAMPLED)][:N_SAMPLED]
            stamp.append((tensor.data_ptr(), tensor._version, few.float().cpu().numpy().tobytes()))
    return stamp


def replace_head(network: nn.Module, n_classes: int) -> nn.Module:
    """Give the last layer with weights another number of outputs, at random, in place."""
    kinds = (nn.Linear, nn.Conv2d)
    path, head = [(p, m) for p, m in network.named_modules() if isinstance(m, kinds)][-1]
    if isinstance(head, nn.Linear):
        new: nn.Module = nn.Linear(head.in_features, n_classes, head.bias is not None)
    else:
        new = nn.Conv2d(head.in_channels, n_classes, **_geometry(head))
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, new)
    return network


def _geometry(head: nn.Conv2d) -> dict[str, Any]:
    return {"kernel_size": head.kernel_size, "stride": head.stride, "padding": head.padding}


def _preprocessing_of(module: nn.Module) -> Preprocessing:
    return _preprocessing(getattr(module, "preprocessing", None))


def _preprocessing(said: Any) -> Preprocessing:
    """`Preprocessing` of a dictionary, as it is in ``model.json`` or on a module."""
    if not isinstance(said, dict):
        return said if isinstance(said, Preprocessing) else Preprocessing()
    values: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in said.items()
    }
    if isinstance(values.get("crop"), int):
        values["crop"] = (values["crop"], values["crop"])
    return Preprocessing(**values)


def _timm_preprocessing(timm: Any, config: Any) -> Preprocessing:
    data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict() if config else {})
    height, width = data["input_size"][1:]
    scale = 1 / data["crop_pct"]
    resize: Any = (int(height * scale), int(width * scale))
    if height == width and data.get("crop_mode") != "squash":
        resize = resize[0]
    return Preprocessing(
        resize=resize,
        crop=(height, width),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"],
    )
