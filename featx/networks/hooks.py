"""Tap a network that cannot be traced, with forward hooks, and stop after the deepest layer."""

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
    """Callable that returns the rows of each tap, like the module of `Traced.cut`.

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
        """Rows ``(n, d)`` of each tap, in the order of the taps."""
        indices_by_name: dict[str, list[int]] = {}
        for i, tap in enumerate(self.taps):
            for name in tap.names:
                indices_by_name.setdefault(name, []).append(i)
        rows: dict[int, Tensor] = {}

        def visit(
            name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool
        ) -> None:
            indices = [i for i in indices_by_name.get(name, ()) if i not in rows]
            for i in indices:
                rows[i] = self._rows(value, self.taps[i])
            if indices and len(rows) == len(self.taps):
                raise _DeepestReachedError

        # The hooks are on the network while it runs, so only one thread may run it.
        with self._lock, contextlib.suppress(_DeepestReachedError):
            Trace(self.network, visit).run(batch, with_functions=self.with_functions)
        for i, tap in enumerate(self.taps):
            if i not in rows:
                raise ModelError(f"The network does not reach {tap.layer.node!r} in every run.")
        return tuple(rows[i] for i in range(len(self.taps)))

    def _rows(self, value: Tensor, tap: Tap) -> Tensor:
        if tap.norm:  # Call forward itself, since hooks would trace a call of the module.
            with torch._C.DisableTorchFunction():
                value = self.network.get_submodule(tap.norm).forward(value)
        return tap_rows(value, tap.pooling, tap.layer.axes, tap.layer.n_prefix, must_copy=True)


class _DeepestReachedError(BaseException):
    """Leaves the network's forward; no ``except Exception`` in there catches a BaseException."""
