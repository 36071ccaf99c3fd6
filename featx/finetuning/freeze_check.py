"""Freeze check: frozen parameters and buffers are unchanged, bit for bit."""

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
    changed : list of str
        Names of the tensors that changed.
    """

    n_parameters: int
    n_buffers: int
    n_values: int
    changed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        tensors = f"{self.n_parameters:,} frozen parameters and {self.n_buffers:,} frozen buffers"
        if self.changed:
            more = " …" if len(self.changed) > _N_LISTED else ""
            names = ", ".join(self.changed[:_N_LISTED])
            return f"{len(self.changed)} of {tensors} changed: {names}{more}"
        return f"{tensors} ({self.n_values:,} values) are unchanged, bit for bit"

    def check(self) -> None:
        """Raise an error if a tensor changed.

        Raises
        ------
        TrainingError
            With the names of the tensors.
        """
        if self.changed:
            raise TrainingError(f"{self}; do not use the results of this run.")


@dataclass(frozen=True)
class Checksums:
    """Digests of the tensors that training must not change.

    Examples
    --------
    >>> network = nn.Linear(2, 1)
    >>> checksums = Checksums.of(network, updated=["bias"])
    >>> str(checksums.compare(network))
    '1 frozen parameters and 0 frozen buffers (2 values) are unchanged, bit for bit'
    """

    digests: dict[str, str]
    n_values: int
    n_parameters: int

    @classmethod
    def of(cls, network: nn.Module, *, updated: Iterable[str]) -> Checksums:
        """Digests of all parameters and buffers except those that training updates."""
        fixed = {name: t for name, t in _tensors(network).items() if name not in set(updated)}
        parameters = {name for name, _ in network.named_parameters()}
        return cls(
            {name: _tensor_digest(tensor) for name, tensor in fixed.items()},
            sum(tensor.numel() for tensor in fixed.values()),
            len(parameters & fixed.keys()),
        )

    def compare(self, network: nn.Module) -> FreezeCheck:
        """Compare the digests with those of the same tensors now."""
        tensors = _tensors(network)
        changed = [
            name
            for name, digest in self.digests.items()
            if name not in tensors or _tensor_digest(tensors[name]) != digest
        ]
        n_buffers = len(self.digests) - self.n_parameters
        return FreezeCheck(self.n_parameters, n_buffers, self.n_values, changed)


def _tensor_digest(tensor: torch.Tensor) -> str:
    """Digest of a tensor's type, shape and bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    head = f"{tensor.dtype}:{tuple(tensor.shape)}\n".encode()
    return digest_bytes(head + flat.view(torch.uint8).numpy().tobytes())


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, including buffers that are not saved to files."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
