"""A signal ends the program by one line and its exit code, whatever it is doing then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

START = """
import os, sys, threading, time
from featx.process.ending import end_on_signals, end_process
end_on_signals()
def say(): print("ready", flush=True)
"""

MOMENTS = {
    "waiting": "say(); time.sleep(60)",
    "in an import": "sys.path.insert(0, '.'); say(); import slow_module",
    "in a lock": "lock = threading.Lock(); lock.acquire(); say(); lock.acquire()",
    "in a callback from C": """
import ctypes
call = ctypes.CFUNCTYPE(None)(lambda: (say(), time.sleep(60)))
call()
say(); time.sleep(60)
""",
    "in a destructor": """
class Slow:
    def __del__(self): say(); time.sleep(60)
slow = Slow(); del slow
time.sleep(60)
""",
    "where everything is caught": """
say()
while True:
    try: time.sleep(60)
    except: pass
""",
    "while Python waits for a thread": """
threading.Thread(target=time.sleep, args=[60]).start()
say(); raise SystemExit
""",
    "in an exit function": """
import atexit
atexit.register(lambda: (say(), time.sleep(60)))
end_process(0)
""",
    "in finally": """
try: raise ValueError
finally: say(); time.sleep(60)
""",
}


def hear_all() -> None:
    """Ignore no signal that this process ignores, as one that nohup started does."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def begin(code: str, folder: Path) -> subprocess.Popen[str]:
    """The program, once it has come where it says that it is ready."""
    command = [sys.executable, "-c", START + code]
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        command,
        cwd=folder,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
        preexec_fn=hear_all,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def end(child: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Exit code and stderr after a signal to the whole group, as the terminal sends it."""
    os.killpg(child.pid, number)
    _, err = child.communicate(timeout=30)
    return child.returncode, err


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_is_one_line_and_130(moment: str, tmp_path: Path) -> None:
    (tmp_path / "slow_module.py").write_text("import time; time.sleep(60)")
    line = "featx: interrupted; stored rows remain valid, run again to resume\n"
    assert end(begin(MOMENTS[moment], tmp_path), signal.SIGINT) == (130, line)


@pytest.mark.parametrize(("number", "word"), [(15, "terminated"), (1, "the terminal was closed")])
def test_other_signals_have_their_words_and_codes(number: int, word: str, tmp_path: Path) -> None:
    code, err = end(begin(MOMENTS["waiting"], tmp_path), number)
    assert (code, err.partition(";")[0]) == (128 + number, f"featx: {word}")


def test_a_signal_that_was_switched_off_stays_so() -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    code = START.replace("end_on_signals()\n", f"{ignoring}\nend_on_signals()\n")
    done = subprocess.run(
        [sys.executable, "-c", code + "os.kill(os.getpid(), 1); say()"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "ready\n"


def test_worker_processes_and_unfinished_files_go_too(tmp_path: Path) -> None:
    code = """
import multiprocessing
from pathlib import Path
from featx.process.unfinished_files import unfinished
def work(): time.sleep(60)
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
with unfinished(Path("half")):
    Path("half").write_text("half")
    Path("pid").write_text(str(worker.pid))
    say(); time.sleep(60)
"""
    assert end(begin(code, tmp_path), signal.SIGINT)[0] == 130
    assert [path.name for path in tmp_path.iterdir()] == ["pid"]
    wait_until_gone(int((tmp_path / "pid").read_text()))


def wait_until_gone(pid: int) -> None:
    """Fail if a process that was killed still runs after ten seconds (no one waits for it)."""
    deadline = time.monotonic() + 10
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_signal_to_a_forked_copy_is_not_its_parents(tmp_path: Path) -> None:
    code = """
import signal
is_ready, ready = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(ready, b"1")
    time.sleep(30)
os.read(is_ready, 1)
os.kill(pid, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
end_process(3)
"""
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "-15\n", "")


@pytest.mark.parametrize(
    ("argument", "code", "text"), [("None", 0, ""), ("3", 3, ""), ("'why'", 1, "why\n")]
)
def test_the_exit_code_is_that_of_sys_exit(argument: str, code: int, text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{START}print('out'); end_process({argument})"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", text)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", f"{START}print('out'); end_process(0)"],
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    line = "featx: the output cannot be written: no space left on device\n"
    assert (done.returncode, done.stderr) == (1, line)
