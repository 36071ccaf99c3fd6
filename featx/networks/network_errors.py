"""Convert any exception of a network's code to a `ModelError` that says where it happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from torch import nn

from featx.errors import FeatxError, ModelError, one_line

_N_CHARACTERS = 200
"""Maximum length of a quoted message: a compiler's may fill pages."""


@contextmanager
def name_network(model: str, task: str, network: nn.Module | None = None) -> Iterator[None]:
    """Context that converts exceptions to an error that names the network, layer and source line.

    Parameters
    ----------
    model : str
        Name of the network.
    task : str
        What fails, such as ``cannot be built``.
    network : torch.nn.Module, optional
        The running network, to name the layer.

    Raises
    ------
    ModelError
        For any exception other than featx's own and `MemoryError`, including the `SystemExit` of
        ``sys.exit``. The original exception is its cause.

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
    """Describe an exception, with the layer, file and line where it was raised if known."""
    frames = list(_frames(error.__traceback__))
    layer = _layer(frames, network) if network is not None else ""
    message = one_line(error)[:_N_CHARACTERS].rstrip(". ")
    kind = type(error).__name__
    reason = kind if message == kind else f"{kind}: {message}"
    return f"{layer}{reason}{_source_line(frames)}"


def _frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def _layer(frames: list[tuple[FrameType, int]], network: nn.Module) -> str:
    """Describe the innermost module of the network that was running; empty if none was."""
    paths = {id(module): path for path, module in network.named_modules()}
    objects = [frame.f_locals.get("self") for frame, _ in frames]
    running = [it for it in objects if isinstance(it, nn.Module) and id(it) in paths]
    if not running:
        return ""
    path, kind = paths[id(running[-1])], type(running[-1]).__name__
    return f"in layer {path!r} ({kind}): " if path else f"in {kind}.forward: "


def _source_line(frames: list[tuple[FrameType, int]]) -> str:
    """The innermost line of user code, not of featx or a library, as `` (mynet.py:12)``."""
    for frame, line in reversed(frames):
        path = frame.f_code.co_filename
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        is_library = "site-packages" in path or package in ("torch", "featx", "importlib")
        if not is_library and not path.startswith("<"):
            return f" ({os.path.basename(path)}:{line})"
    return ""
