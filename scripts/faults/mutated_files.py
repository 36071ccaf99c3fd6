"""Thousands of damaged and crafted files, images and all that featx loads, in many processes.

A sound file is damaged in one to four ways: bits and bytes changed, parts cut, repeated, filled
or taken from another file, sizes and offsets made huge, members of archives damaged under a right
checksum, values of JSON replaced, and commands put in that leave a sentinel file if they run. Each
is read as a command would read it. It may be read, or refused in one line by an error of featx;
it is a fault if the process dies (crashed), takes 20 seconds (hung), raises anything else
(traceback), runs what is in the file (executed), leaves an image without a row or a reason
(missing), or gives rows other than those without a store (wrong).
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from children import Ended, call
from honest_files import N_IMAGES, Kind, kinds
from tallies import Plan, Tally

COLUMNS = ("reads", "refused", "missing", "wrong", "crashed", "hung", "traceback", "executed")
N_PER_CHILD = 40
LIMIT_S = 20
MORE_BYTES = 6 * 2**30
"""What a child may take beyond what it has from the start."""

MODULE = "featx_fault_module"
SENTINEL = "sentinel"
RUNS_PROGRAMS = frozenset(
    {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn"}
)
"""Events of `sys.addaudithook`: nothing that is read here starts a program."""


def run(plan: Plan) -> list[Tally]:
    """Files of each kind in turn, some in each child, until there are enough."""
    images = make_images(plan)
    plant_module(plan.folder)
    chosen = kinds()
    tallies = {kind.name: Tally(kind.name) for kind in chosen}
    for kind, numbers in batches(plan, chosen):
        folder = plan.folder / kind.name.replace(" ", "_").replace(",", "")
        if not folder.exists():
            build(kind, folder, images)
        read_batch(kind, folder, numbers, images, plan, tallies[kind.name])
    return [tally for tally in tallies.values() if plan.takes(tally.case)]


def make_images(plan: Plan) -> list[Path]:
    """Some sound images, for all that needs one beside what is attacked."""
    folder = plan.folder / "images"
    folder.mkdir()
    kinds_of_photos = sorted((plan.data / "photo").iterdir())[:N_IMAGES]
    return [
        Path(shutil.copy(sorted(it.iterdir())[0], folder / f"{it.name}.jpg"))
        for it in kinds_of_photos
    ]


def plant_module(folder: Path) -> None:
    """A module that leaves the sentinel file when it is imported."""
    (folder / "modules").mkdir()
    text = f"open({str(folder / SENTINEL)!r}, 'w').close()\ndef make(*a, **k): pass\n"
    (folder / "modules" / f"{MODULE}.py").write_text(text)


def build(kind: Kind, folder: Path, images: Sequence[Path]) -> None:
    (folder / "sound").mkdir(parents=True)
    for task in (kind.build, kind.read):  # What is sound must be read.
        ended = call(lambda task=task: task(folder / "sound", images), folder)
        if ended.code or ended.result:
            raise RuntimeError(f"{kind.name}: {ended.result} {ended.text[-2000:]}")
        if task is kind.build:
            shutil.copytree(folder / "sound", folder / "template")


def batches(plan: Plan, chosen: Sequence[Kind]) -> Iterator[tuple[Kind, list[int]]]:
    """Numbers of files by kind; a file's kind follows from its number."""
    if plan.only_round is not None:
        yield chosen[plan.only_round % len(chosen)], [plan.only_round]
        return
    for start in range(0, plan.rounds, N_PER_CHILD * len(chosen)):
        for index, kind in enumerate(chosen):
            stop = min(plan.rounds, start + N_PER_CHILD * len(chosen))
            if not plan.takes(kind.name):
                continue
            if plan.remaining_s <= 0:
                return
            yield kind, list(range(start + index, stop, len(chosen)))


def read_batch(
    kind: Kind,
    folder: Path,
    numbers: Sequence[int],
    images: Sequence[Path],
    plan: Plan,
    tally: Tally,
) -> None:
    """Damage and read files in children; after a crash the next goes on with the next file."""
    pending = list(numbers)
    while pending:
        outcomes = folder / "outcomes.txt"
        outcomes.unlink(missing_ok=True)
        ended = call(reader(kind, folder, pending, images, plan), folder, LIMIT_S * len(pending))
        lines = outcomes.read_text("utf-8", "replace").splitlines() if outcomes.exists() else []
        begun = [int(line.split()[1]) for line in lines if line.startswith("begin ")]
        ends = [line.split(" ", 2)[1:] for line in lines if line.startswith("end ")]
        for number, (outcome, *note) in zip(begun, ends):
            tally.rounds += 1
            tally.add(outcome, f"{' '.join(note)} {plan.options(number)}")
        if len(begun) > len(ends) or (ended.code and not begun):
            number = begun[-1] if begun else pending[0]
            tally.rounds += 1
            tally.add(fault_of(ended), f"{ended.last_line} {plan.options(number)}")
            begun = begun or [number]
        elif len(begun) < len(pending):  # Its time was over.
            return
        pending = [number for number in pending if number > begun[-1]]


def fault_of(ended: Ended) -> str:
    is_hung = ended.is_hung or ended.code == -signal.SIGALRM
    return "hung" if is_hung else "crashed"


def reader(
    kind: Kind, folder: Path, numbers: Sequence[int], images: Sequence[Path], plan: Plan
) -> Callable[[], None]:
    """Task that damages and reads files one after the other, and notes each before and after."""

    def read() -> None:
        os.chdir(plan.folder / "modules")  # Python looks for modules here, too.
        sys.path.insert(0, "")
        limit_memory()
        warnings.simplefilter("ignore")
        programs: list[str] = []
        sys.addaudithook(
            lambda event, _: programs.append(event) if event in RUNS_PROGRAMS else None
        )
        notes = os.open(folder / "outcomes.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        sentinel = plan.folder / SENTINEL
        for number in numbers:
            place = folder / "damaged"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder / "template", place)
            damage(plan.rng("file", number), place, kind, sentinel)
            os.write(notes, f"begin {number}\n".encode())
            signal.alarm(LIMIT_S)
            outcome = attempt(kind, place, images)
            signal.alarm(0)
            if sentinel.exists() or programs or MODULE in sys.modules:
                outcome = f"executed {' '.join(programs)}"
                sentinel.unlink(missing_ok=True)
                sys.modules.pop(MODULE, None)
                programs.clear()
            os.write(notes, f"end {' '.join(outcome.split())}\n".encode())
            if plan.only_round is None and plan.remaining_s <= 0:
                return

    return read


def limit_memory() -> None:
    """A size that a file makes up must not take the machine's memory."""
    n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = n_pages * resource.getpagesize() + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def attempt(kind: Kind, place: Path, images: Sequence[Path]) -> str:
    """What became of a file: one word, and what there is to say."""
    from featx.errors import FeatxError

    try:
        return str(kind.read(place, images) or "reads")
    except FeatxError as error:
        return f"traceback several lines: {str(error)[:300]}" if "\n" in str(error) else "refused"
    except BaseException as error:
        place_in_code = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place_in_code.filename).name}:{place_in_code.lineno}"
        return f"traceback {type(error).__name__} in {where}: {str(error)[:200]}"


def damage(rng: random.Random, place: Path, kind: Kind, sentinel: Path) -> None:
    """Damage one of the files in a folder."""
    files = sorted(
        it for it in place.rglob("*") if it.is_file() and not it.name.endswith(kind.spared or "\n")
    )
    file = rng.choice(files)
    data = file.read_bytes()
    crafted = None
    if rng.random() < 0.6:
        crafted = in_json(rng, data, sentinel) or in_archive(rng, data, sentinel)
    file.write_bytes(crafted or in_bytes(rng, data, sentinel))


def in_bytes(rng: random.Random, data: bytes, sentinel: Path) -> bytes:
    """Content with one to four changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice(CHANGES)(rng, changed)
    if rng.random() < 0.2:
        at = rng.randint(0, len(changed))
        changed[at : at + rng.choice((0, 0, 64))] = rng.choice(commands(sentinel))
    return bytes(changed)


def at(rng: random.Random, data: bytearray) -> int:
    """A place, more often one near the start, where headers are."""
    n = len(data)
    return rng.randrange(min(n, rng.choice((64, 512, n)))) if n else 0


def flip_bit(rng: random.Random, data: bytearray) -> None:
    if data:
        data[at(rng, data)] ^= 1 << rng.randrange(8)


def set_byte(rng: random.Random, data: bytearray) -> None:
    if data:
        data[at(rng, data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def set_number(rng: random.Random, data: bytearray) -> None:
    """A size or offset made huge, negative or zero."""
    length = rng.choice((2, 4, 8))
    value = rng.choice((0, 1, 2 ** (8 * length) - 1, 2 ** (8 * length - 1), 2 ** (4 * length)))
    first = at(rng, data) // length * length
    data[first : first + length] = value.to_bytes(length, rng.choice(("little", "big")))


def cut(rng: random.Random, data: bytearray) -> None:
    del data[at(rng, data) :]


def remove(rng: random.Random, data: bytearray) -> None:
    first = at(rng, data)
    del data[first : first + rng.randint(1, 64)]


def repeat(rng: random.Random, data: bytearray) -> None:
    first = at(rng, data)
    data[first:first] = data[first : first + rng.randint(1, 256)] * rng.randint(1, 3)


def fill(rng: random.Random, data: bytearray) -> None:
    first, length = at(rng, data), rng.randint(1, 256)
    data[first : first + length] = bytes([rng.choice((0, 0xFF))]) * length


def put_random(rng: random.Random, data: bytearray) -> None:
    first = at(rng, data)
    data[first:first] = rng.randbytes(rng.randint(1, 64))


def set_digit(rng: random.Random, data: bytearray) -> None:
    """Another digit in a header that is text."""
    digits = [i for i, byte in enumerate(data[:2000]) if 48 <= byte < 58]
    if digits:
        data[rng.choice(digits)] = rng.choice(b"0123456789-.")


CHANGES = (
    flip_bit, flip_bit, set_byte, set_byte, set_number, cut, remove, repeat, fill, put_random,
    set_digit,
)  # fmt: skip


def commands(sentinel: Path) -> list[bytes]:
    """Pickles and texts that leave the sentinel file if somebody runs them."""
    touch = f"touch {sentinel}"
    return [
        f"cos\nsystem\n(S'{touch}'\ntR.".encode(),
        f"\x80\x02cbuiltins\neval\n(S'open({str(sentinel)!r}, \"w\")'\ntR.".encode("latin1"),
        f"\x80\x02c{MODULE}\nmake\n)R.".encode("latin1"),
        f"\n__import__('os').system('{touch}')\n".encode(),
        f"=cmd|'{touch}'!A0,`{touch}`,$({touch})\n".encode(),
        f"%!PS\n(%pipe%{touch}) (w) file closefile\n".encode(),
    ]


def in_archive(rng: random.Random, data: bytes, sentinel: Path) -> bytes | None:
    """A ZIP file with a member damaged, its checksum right; None of other files."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError):
        return None
    name = rng.choice(sorted(members))
    crafted = in_json(rng, members[name], sentinel)
    members[name] = crafted or in_bytes(rng, members[name], sentinel)
    if rng.random() < 0.1:
        members[rng.choice(("../escaped", "data.pkl", "schema.json", "X.npy"))] = members[name]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return buffer.getvalue()


def in_json(rng: random.Random, data: bytes, sentinel: Path) -> bytes | None:
    """A JSON file with some values replaced; None of other files."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    places = list(places_in(document))
    if not places:
        return None
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(places)
        with_key = holder[key] if rng.random() < 0.1 else hostile_value(rng, key, sentinel)
        holder[key] = with_key
        if isinstance(holder, dict) and rng.random() < 0.1:
            del holder[key]
            places = [it for it in places if it != (holder, key)] or [({}, "x")]
            places = [it for it in places if it[0] is not holder or it[1] in holder] or [
                ({"x": 0}, "x")
            ]
    return json.dumps(document).encode()


def places_in(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a document, as what holds it and its key there."""
    if not isinstance(document, dict | list):
        return
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(items):
        yield document, key
        if isinstance(value, dict | list):
            yield from places_in(value)


def hostile_value(rng: random.Random, key: Any, sentinel: Path) -> Any:
    """A value for a key: for names of classes and models those that run something."""
    pairs = (
        ("os", "system"),
        ("builtins", "eval"),
        ("joblib", "load"),
        ("featx.store.shards", "open_shard"),
        ("featx", "demo"),
        (MODULE, "make"),
    )
    module, name = rng.choice(pairs)
    nodes = (
        "FunctionNode",
        "MethodNode",
        "ReduceNode",
        "ObjectNode",
        "TypeNode",
        "PartialNode",
        "TreeNode",
    )
    special = {
        "__module__": module,
        "__class__": name,
        "__loader__": rng.choice(nodes),
        "model": f"{MODULE}:make",
    }
    if key in special and rng.random() < 0.8:
        return special[key]
    nested: list[Any] = []
    for _ in range(50):
        nested = [nested]
    return rng.choice(
        (
            None, True, -1, 0, 2**62, 1e308, float("nan"), "", "\x1b[31m\n", "../../x", "/dev/zero",
            [], {}, nested, f"{MODULE}:make", str(sentinel), "a" * 5000, [1, 2], {"a": [None]},
            {"__module__": module, "__class__": name, "__loader__": rng.choice(nodes),
             "content": []},
        )
    )  # fmt: skip
