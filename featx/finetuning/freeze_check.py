"""Proof that what was frozen is bit for bit what it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import nn

from featx._fingerprints import digest_bytes
from featx.errors import TrainingError

_N_LISTED = 5


@dataclass(frozen=True)
class FreezeCheck:
    """Frozen tensors before and after a run.

    Parameters
    ----------
    n_parameters, n_buffers : int
        Tensors compared.
    n_values : int
        Numbers in them.
    moved : list of str
        Those that are not what they were.
    """

    n_parameters: int
    n_buffers: int
    n_values: int
    moved: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        what = f"{self.n_parameters:,} frozen parameters and {self.n_buffers:,} frozen buffers"
        if self.moved:
            more = " …" if len(self.moved) > _N_LISTED else ""
            return f"{len(self.moved)} of {what} moved: {', '.join(self.moved[:_N_LISTED])}{more}"
        return f"{what} ({self.n_values:,} values) are bit for bit what they were"

    def check(self) -> None:
        """Raise if something moved.

        Raises
        ------
        TrainingError
            With the names of what moved.
        """
        if self.moved:
            raise TrainingError(f"{self}; nothing of this run can be trusted to be frozen.")


@dataclass(frozen=True)
class Checksums:
    """Digests of tensors that must not move, taken before a run.

    Examples
    --------
    >>> network = nn.Linear(2, 1)
    >>> checksums = Checksums.of(network, moving=["bias"])
    >>> str(checksums.prove(network))
    '1 frozen parameters and 0 frozen buffers (2 values) are bit for bit what they were'
    """

    digests: dict[str, str]
    n_values: int
    n_parameters: int

    @classmethod
    def of(cls, network: nn.Module, *, moving: Iterable[str]) -> Checksums:
        """Digests of every parameter and buffer of a network but those that may move."""
        fixed = {name: t for name, t in _tensors(network).items() if name not in set(moving)}
        parameters = {name for name, _ in network.named_parameters()}
        return cls(
            {name: _tensor_digest(tensor) for name, tensor in fixed.items()},
            sum(tensor.numel() for tensor in fixed.values()),
            len(parameters & fixed.keys()),
        )

    def prove(self, network: nn.Module) -> FreezeCheck:
        """Compare with the same tensors now."""
        now = _tensors(network)
        moved = [
            name
            for name, digest in self.digests.items()
            if name not in now or _tensor_digest(now[name]) != digest
        ]
        n_buffers = len(self.digests) - self.n_parameters
        return FreezeCheck(self.n_parameters, n_buffers, self.n_values, moved)


def _tensor_digest(tensor: torch.Tensor) -> str:
    """Digest of a tensor's type, shape and bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    head = f"{tensor.dtype}:{tuple(tensor.shape)}\n".encode()
    return digest_bytes(head + flat.view(torch.uint8).numpy().tobytes())


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, buffers that no file holds among them."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
