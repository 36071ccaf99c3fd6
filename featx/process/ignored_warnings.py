"""Ignore warnings in several threads at once.

`warnings.catch_warnings` saves and restores the filters of the whole process: where two threads
use it at the same time, the first to leave restores the filters for both, and the last may restore
those of the first. Here the first to enter saves the filters, and the last to leave restores them.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_saved = warnings.catch_warnings()
_n_users = 0


@contextmanager
def ignored_warning(message: str, category: type[Warning] = Warning) -> Iterator[None]:
    """Context in which a warning is ignored, by every thread while any thread is inside.

    Parameters
    ----------
    message : str
        Regular expression that the beginning of the warning matches.
    category : type, default=Warning

    Examples
    --------
    >>> with ignored_warning("slow"):
    ...     warnings.warn("slow machine")
    """
    global _n_users, _saved
    with _lock:
        if not _n_users:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
        _n_users += 1
        warnings.filterwarnings("ignore", message, category)
    try:
        yield
    finally:
        with _lock:
            _n_users -= 1
            if not _n_users:
                _saved.__exit__(None, None, None)
