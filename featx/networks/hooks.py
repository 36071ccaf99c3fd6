"""Tap a network that cannot be traced, under the same names, and stop after the deepest layer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

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
        wanted = {name: i for i, tap in enumerate(self.taps) for name in tap.names}
        found: dict[int, Tensor] = {}

        def see(
            name: str, kind: str, value: Tensor, source: Tensor | None, *, is_new: bool
        ) -> None:
            index = wanted.get(name)
            if index is None or index in found:
                return
            tap = self.taps[index]
            axes, n_prefix = tap.layer.axes, tap.layer.n_prefix
            found[index] = tap_rows(value, tap.pooling, axes, n_prefix, must_copy=True)
            if len(found) == len(self.taps):
                raise _DeepestReachedError

        # Hooks are on the network while it runs: one thread at a time.
        with self._lock, contextlib.suppress(_DeepestReachedError):
            Trace(self.network, see).run(batch, with_functions=self.with_functions)
        for i, tap in enumerate(self.taps):
            if i not in found:
                raise ModelError(f"The network does not come to {tap.layer.node!r} in every run.")
        return tuple(found[i] for i in range(len(self.taps)))


class _DeepestReachedError(BaseException):
    """Raised through the network's forward to leave it: no ``except Exception`` in it stops it."""
