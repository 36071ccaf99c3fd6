"""End the program: normally, or on Ctrl-C, SIGTERM and SIGHUP.

An exception raised by a signal handler in the main thread is unreliable: imports, callbacks from C,
``__del__`` methods and ``except:`` clauses of other packages swallow or print it, and it is delayed
while the main thread is blocked. So handlers raise nothing here. The signal's number is written to
a pipe. A thread reads it, prints one line, stops worker processes, removes incomplete files, and
ends the process.

Only the program does this, never the library: programs that import featx keep their own handlers.
This module imports little, as signals have their default handlers until `end_on_signals` has run.
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

_REASONS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed"}
_CLEAR_LINE = b"\r\x1b[K\x1b[?25h"
"""Erases a progress bar and the terminal's ^C, and shows the cursor that the bar hides."""

_WORKERS_WAIT_S = 2.0
_ending = threading.Lock()
"""Acquired by the thread that ends the process, and never released."""


def end_on_signals() -> None:
    """End the process with one line on stderr and exit code 128 + n on SIGINT, SIGTERM or SIGHUP.

    Signals that the parent process ignores, as ``nohup`` does, remain ignored.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_wait, args=(reader,), name="featx-signals", daemon=True).start()
    for name in _REASONS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            _catch(number, writer)
    if os.name == "posix":
        # C code writes to it even while the main thread is blocked. Windows accepts only sockets.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_reset_in_child)


def end_process(code: Any) -> NoReturn:
    """End with the exit code of `sys.exit`, but without finalizing the interpreter.

    During finalization, running threads of other packages sometimes abort or block the process.
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
        signal.siginterrupt(number, False)  # System calls of libraries are restarted.


def _wait(reader: int) -> None:
    """Wait for a signal, and end the process."""
    for number in os.read(reader, 1):
        _ending.acquire()
        _print_reason(_REASONS[signal.Signals(number).name])
        for action in (_stop_workers, remove_unfinished):
            with suppress(Exception):  # The process ends even if this fails.
                action()
        os._exit(128 + number)


def _print_reason(reason: str) -> None:
    """Print one line on stderr, and silence all further output."""
    line = f"featx: {reason}; stored rows remain valid, run again to resume\n".encode()
    with suppress(OSError):
        prefix = _CLEAR_LINE if os.isatty(2) else b""
        stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(null, stream)
        os.write(stderr, prefix + line)


def _stop_workers() -> None:
    """Terminate worker processes, and kill those that do not end in time."""
    module = sys.modules.get("multiprocessing.process")
    workers = [child for child in list(getattr(module, "_children", ())) if child.pid]
    _signal_all([child.pid for child in workers], signal.SIGTERM)
    deadline = time.monotonic() + _WORKERS_WAIT_S
    while time.monotonic() < deadline and any(child.is_alive() for child in workers):
        time.sleep(0.01)
    alive = [child.pid for child in workers if child.is_alive()]
    _signal_all(alive, getattr(signal, "SIGKILL", signal.SIGTERM))


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def _reset_in_child() -> None:
    """After a fork: only the parent handles signals and removes unfinished files."""
    with suppress(ValueError):  # The fork was not in the main thread.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for name in _REASONS.keys() - {"SIGINT"}:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    forget_unfinished()


def _flush(code: int) -> int:
    """Flush stdout; return the exit code, which is 1 instead of 0 if that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # The reader has ended, so there is no need for a message.
        return code or 1
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        print(f"featx: the output cannot be written: {reason.lower()}", file=sys.stderr)
        return code or 1
    return code
