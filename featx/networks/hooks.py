"""Tap a network that cannot be traced, under the same names, and stop after the deepest layer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featx.errors import ModelError
from featx.networks.pooling import Tap, tap_rows
from featx.networks.tracing import Trace


class HookedNetwork:
    """Gives the rows of each tap, as a cut graph does.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode.
    taps : sequence of Tap
    """

    def __init__(self, network: nn.Module, taps: Sequence[Tap]) -> None:
        self.network = network
        self.taps = list(taps)
        paths = {path for path, _ in network.named_modules()}
        self.with_functions = any(paths.isdisjoint(tap.names) for tap in taps)
        self._lock = threading.Lock()

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Rows ``(n, d)`` of each tap, in their order."""
        wanted: dict[str, list[int]] = {}
        for i, tap in enumerate(self.taps):
            for name in tap.names:
                wanted.setdefault(name, []).append(i)
        found: dict[int, Tensor] = {}

        def see(
            name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool
        ) -> None:
            indices = [i for i in wanted.get(name, ()) if i not in found]
            if not indices:
                return
            for i in indices:
                found[i] = self._rows(value, self.taps[i])
            if len(found) == len(self.taps):
                raise _DeepestReachedError

        # Hooks are on the network while it runs: one thread at a time.
        with self._lock, contextlib.suppress(_DeepestReachedError):
            Trace(self.network, see).run(batch, with_functions=self.with_functions)
        for i, tap in enumerate(self.taps):
            if i not in found:
                raise ModelError(f"The network does not come to {tap.layer.node!r} in every run.")
        return tuple(found[i] for i in range(len(self.taps)))

    def _rows(self, value: Tensor, tap: Tap) -> Tensor:
        if tap.norm:  # Its forward alone: a call would be seen as a step of the network.
            with torch._C.DisableTorchFunction():
                value = self.network.get_submodule(tap.norm).forward(value)
        return tap_rows(value, tap.pooling, tap.layer.axes, tap.layer.n_prefix, must_copy=True)


class _DeepestReachedError(BaseException):
    """Raised through the network's forward to leave it: no ``except Exception`` in it stops it."""
