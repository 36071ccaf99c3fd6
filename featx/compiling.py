"""Loops compiled by numba once for all processes, where a folder can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function to be compiled when it is first called.

    The GIL is released. Machine code is kept on disk beside the function's file, or in the
    user's cache folder, or nowhere where neither can be written: then each process compiles
    for itself.

    Parameters
    ----------
    **options
        More options of `numba.njit`.

    Examples
    --------
    >>> @compiled()
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # No cache folder can be written.
            return numba.njit(nogil=True, **options)(function)

    return decorate
