"""How a program ends: by itself, by Ctrl-C, by SIGTERM.

An exception that a signal raises in the main thread is no way to end: imports, callbacks from C,
``__del__`` and the ``except:`` of other packages swallow or print it, and it waits while the main
thread does. So a signal raises nothing here. Its number goes through a pipe to a thread that says
one line, stops worker processes, removes what is not complete, and ends the process.

Only the program does this, never the library: whoever imports featx keeps their own handlers.
Imports little, for until `end_on_signals` has run a signal is Python's.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from featx.process.unfinished_files import forget_unfinished, remove_unfinished

_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed"}
_CLEARED_LINE = b"\r\x1b[K\x1b[?25h"
"""Erases a progress bar, and the ^C of the terminal; shows the cursor that the bar hides."""

_WORKERS_WAIT_S = 2.0
_ending = threading.Lock()
"""Taken by who ends the process, and never released."""


def end_on_signals() -> None:
    """End by one line on stderr and exit code 128 + n at each of Ctrl-C, SIGTERM and SIGHUP.

    A signal that the parent process has switched off, as ``nohup`` does, stays so.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_wait, args=(reader,), name="featx-signals", daemon=True).start()
    for name in _WORDS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            _catch(number, writer)
    if os.name == "posix":
        # Written by the handler in C, whatever the main thread does. Windows takes only sockets.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_leave_to_parent)


def end_process(code: Any) -> NoReturn:
    """End with the exit code that `sys.exit` would give, without tearing the interpreter down.

    Threads of other packages that still run then abort the process now and again, or hang it.
    """
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
    code = code if isinstance(code, int) else int(code is not None)
    atexit._run_exitfuncs()
    code = _flush(code)
    _ending.acquire()
    os._exit(code)


def _catch(number: signal.Signals, writer: int) -> None:
    def notify(*_: object) -> None:
        with suppress(OSError):
            os.write(writer, bytes([number]))

    signal.signal(number, notify)
    if hasattr(signal, "siginterrupt"):
        signal.siginterrupt(number, False)  # No library's read fails of it meanwhile.


def _wait(reader: int) -> None:
    """What the thread of signals does."""
    for number in os.read(reader, 1):
        _ending.acquire()
        _say(_WORDS[signal.Signals(number).name])
        for action in (_stop_workers, remove_unfinished):
            with suppress(Exception):  # Whatever fails here, the process ends.
                action()
        os._exit(128 + number)


def _say(what: str) -> None:
    """One line on stderr, after which nobody else says anything."""
    line = f"featx: {what}; what is stored stays good, run again to go on\n".encode()
    with suppress(OSError):
        prefix = _CLEARED_LINE if os.isatty(2) else b""
        stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        for standard in (1, 2):
            os.dup2(nothing, standard)
        os.write(stderr, prefix + line)


def _stop_workers() -> None:
    """End worker processes: politely, then by force."""
    module = sys.modules.get("multiprocessing.process")
    workers = [child for child in list(getattr(module, "_children", ())) if child.pid]
    _signal_all([child.pid for child in workers], signal.SIGTERM)
    deadline = time.monotonic() + _WORKERS_WAIT_S
    while time.monotonic() < deadline and any(child.is_alive() for child in workers):
        time.sleep(0.01)
    _signal_all(
        [it.pid for it in workers if it.is_alive()], getattr(signal, "SIGKILL", signal.SIGTERM)
    )


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def _leave_to_parent() -> None:
    """In a forked copy: the parent answers signals, and has the unfinished files."""
    with suppress(ValueError):  # Of a thread that is not the main one.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for name in _WORDS.keys() - {"SIGINT"}:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    forget_unfinished()


def _flush(code: int) -> int:
    """Exit code after what was printed is written: 1 where it cannot be."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # The reader has gone: nothing is left to say.
        return code or 1
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        print(f"featx: the output cannot be written: {reason.lower()}", file=sys.stderr)
        return code or 1
    return code
