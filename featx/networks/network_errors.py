"""Whatever a network's own code raises -> one error of featx that says where it happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from torch import nn

from featx.errors import FeatxError, ModelError, one_line

_N_CHARACTERS = 200
"""What a message takes of another's: a compiler's fills pages."""


@contextmanager
def name_network(model: str, task: str, network: nn.Module | None = None) -> Iterator[None]:
    """Raise what foreign code raises as an error that names the network and the place in it.

    Parameters
    ----------
    model : str
        The network's name.
    task : str
        What fails, such as ``cannot be built``.
    network : torch.nn.Module, optional
        Whose layers can be named.

    Raises
    ------
    ModelError
        In place of any exception but featx's own, with that one as its cause. ``sys.exit`` in a
        network's code does not end the program either; a lack of memory stays what it is.

    Examples
    --------
    >>> with name_network("mynet", "cannot be built"):
    ...     {}["width"]
    Traceback (most recent call last):
    featx.errors.ModelError: mynet cannot be built: KeyError: 'width'.
    """
    try:
        yield
    except (FeatxError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{model} {task}: {explain(error, network)}.") from error


def explain(error: BaseException, network: nn.Module | None = None) -> str:
    """What was raised, and in which layer, file and line where that is known."""
    frames = list(_frames(error.__traceback__))
    layer = _layer(frames, network) if network is not None else ""
    said = one_line(error)[:_N_CHARACTERS].rstrip(". ")
    kind = type(error).__name__
    reason = kind if said == kind else f"{kind}: {said}"
    return f"{layer}{reason}{_source_line(frames)}"


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _layer(frames: list[tuple[FrameType, int]], network: nn.Module) -> str:
    """The innermost module of the network that was running; empty where none was."""
    paths = {id(module): path for path, module in network.named_modules()}
    running = [frame.f_locals.get("self") for frame, _ in frames]
    inside = [it for it in running if isinstance(it, nn.Module) and id(it) in paths]
    if not inside:
        return ""
    path, kind = paths[id(inside[-1])], type(inside[-1]).__name__
    return f"in layer {path!r} ({kind}): " if path else f"in {kind}.forward: "


def _source_line(frames: list[tuple[FrameType, int]]) -> str:
    """The innermost line that is neither featx's nor a library's, as `` (mynet.py:12)``."""
    for frame, line in reversed(frames):
        path = frame.f_code.co_filename
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        is_library = "site-packages" in path or package in ("torch", "featx", "importlib")
        if not is_library and not path.startswith("<"):
            return f" ({os.path.basename(path)}:{line})"
    return ""
