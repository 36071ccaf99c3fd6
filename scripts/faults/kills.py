"""kill -9 at random moments, and before and after each rename, link and removal.

After each kill: rows that were committed are in the store and whole (else lost); what the command
writes is that of the run before or of this one, whole (else wrong; refused where featx says in one
line that it is not); the same command succeeds and gives what a run without a kill gives (else
stuck, or wrong), resumes from the rows that are there, and leaves nothing but its output (else
left).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from children import (
    COMMITTED,
    STEPS_TAKEN,
    Ended,
    call,
    featx_command,
    killed_at_step,
    recorded,
    start,
)
from tallies import Plan, Tally

COLUMNS = ("killed", "wrong", "lost", "stuck", "left", "crashed", "hung", "refused")
FORMATS = (".npz", ".npy", ".parquet", ".h5", ".csv", ".safetensors", ".mat", "")
OWN = frozenset({"output", "output.json", "store", "tmp", "cache", "checkpoint"})
"""What may be in a round's folder afterwards; an output has its suffix besides."""


@dataclass(frozen=True)
class Case:
    """A command that replaces what the same command wrote of fewer images."""

    name: str
    arguments: tuple[str, ...]
    """``{data}`` stands for a folder of images."""
    output: str
    observe: Callable[[Path, Path], Any]
    """What the output says, as plain values, given it and other images."""


@dataclass(frozen=True)
class Kill:
    """A moment: a share of the time that a run takes, or a step and its side."""

    share: float | None = None
    step: int | None = None
    is_after: bool = False

    def __str__(self) -> str:
        if self.share is not None:
            return f"at {self.share:.3f} of the run"
        return f"{'after' if self.is_after else 'before'} step {self.step}"


def run(plan: Plan) -> list[Tally]:
    """All rounds: cases in turn, a random moment and a step in turn."""
    rehearsed = [Rehearsed(case, plan) for case in cases() if plan.takes(case.name)]
    tallies = {case.case.name: Tally(case.case.name) for case in rehearsed}
    for number in plan.numbers():
        case = rehearsed[number % len(rehearsed)]
        tally = tallies[case.case.name]
        tally.rounds += 1
        for fault, note in case.round(number, number // len(rehearsed)):
            tally.add(fault, f"{note} {plan.options(number)}")
    return list(tallies.values())


def cases() -> list[Case]:
    extract = ("extract", "{data}", "-e", "color", "-e", "pixels,image_size=8", "-q", "-o")
    reports = {
        "compare": ("compare", "{data}", "-e", "color", "-e", "pixels,image_size=8"),
        "depth": ("depth", "{data}", "--layers", "pool1,fc7", "--method", "pca"),
    }
    training = "--head-epochs 1 --epochs 1 --batch-size 8 --checkpoint checkpoint -q -o output"
    return [
        *(
            Case(
                f"extract {suffix or 'folder'}",
                (*extract, f"output{suffix}"),
                f"output{suffix}",
                features,
            )
            for suffix in FORMATS
        ),
        Case("finetune", ("finetune", "{data}", *training.split()), "output", predictions),
        *(
            Case(name, (*arguments, "-q", "--report", "output"), "output", report)
            for name, arguments in reports.items()
        ),
    ]


def features(output: Path, _: Path) -> Any:
    """Digest of each row, by the name of its image."""
    from featx import FeatureSet

    found = FeatureSet.load(output)
    rows = (hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in found.X)
    return {"blocks": found.blocks, "rows": dict(zip(map(str, found.paths), rows, strict=True))}


def predictions(output: Path, others: Path) -> Any:
    from featx import predict

    rows = predict(str(output), str(others), store=None).rows
    return [[row["path"], row["predicted"], f"{row['probability']:.3f}"] for row in rows]


def report(output: Path, _: Path) -> Any:
    """What the results say, times aside; the page must be whole."""
    from featx.report.writing import read_results

    (result,) = read_results([output])
    if not (output / "report.html").read_text("utf-8").rstrip().endswith("</html>"):
        raise AssertionError("report.html is not whole")
    columns = ("spec", "layer", "accuracy", "low", "high", "n_features")
    return [[row.get(column) for column in columns] for row in result.rows]


class Rehearsed:
    """A case with what it gives without a kill, how long that takes and in how many steps."""

    def __init__(self, case: Case, plan: Plan) -> None:
        self.case = case
        self.plan = plan
        self.folder = plan.folder / case.name.replace(" ", "_")
        self.old, self.new, self.others = (
            make_images(plan, name, first, stop)
            for name, first, stop in (("old", 0, 5), ("new", 2, 8), ("others", 8, 10))
        )

    def round(self, number: int, turn: int) -> Iterator[tuple[str, str]]:
        """Faults of one kill, and the news that it struck."""
        _ = self._rehearsal
        kill = self._moment(number, turn)
        folder = self.folder / "round"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._template, folder, symlinks=True)
        ended = self._killed(folder, kill)
        if ended.code == -9:
            yield "killed", ""
        elif ended.code != 0:
            yield ended.crash or "stuck", f"{kill}: {ended.last_line}"
        for fault, note in (
            *self._check_rows(folder),
            *self._check_output(folder),
            *self._check_rerun(folder),
        ):
            yield fault, f"{kill}: {note}"

    def _moment(self, number: int, turn: int) -> Kill:
        rng = self.plan.rng("kill", number)
        if turn % 2 == 0:
            return Kill(share=rng.uniform(0, 1.05))
        # Each step in turn, from a random one on, so that few rounds meet others by seed.
        first = self.plan.rng("first", self.case.name).randrange(2 * self._n_steps)
        step, is_after = divmod((first + turn // 2) % (2 * self._n_steps), 2)
        return Kill(step=step, is_after=bool(is_after))

    @cached_property
    def _template(self) -> Path:
        """Folder with the output and the store of the run before."""
        folder = self.folder / "template"
        folder.mkdir(parents=True)
        ended = call(featx_command(*self._arguments(self.old)), folder)
        if ended.code:
            raise RuntimeError(f"{self.case.name} fails without a kill: {ended.text[-2000:]}")
        self._tidy(folder)
        return folder

    @cached_property
    def _rehearsal(self) -> tuple[Any, Any, float, int]:
        """What the output says before and after, seconds and steps between."""
        before = self._observed(self._template)
        folder = self.folder / "rehearsal"
        shutil.copytree(self._template, folder, symlinks=True)
        ended = call(killed_at_step(featx_command(*self._arguments(self.new)), folder), folder)
        if ended.code:
            raise RuntimeError(f"{self.case.name} fails without a kill: {ended.text[-2000:]}")
        n_steps = int((folder / STEPS_TAKEN).read_text())
        return before, self._observed(folder), ended.seconds, max(1, n_steps)

    @property
    def _n_steps(self) -> int:
        return self._rehearsal[3]

    def _arguments(self, images: Path) -> list[str]:
        return [part.format(data=images) for part in self.case.arguments]

    def _killed(self, folder: Path, kill: Kill) -> Ended:
        command = recorded(featx_command(*self._arguments(self.new)), folder)
        if kill.share is None:
            return call(killed_at_step(command, folder, kill.step, is_after=kill.is_after), folder)
        seconds = self._rehearsal[2]
        child = start(command, folder)
        if not child.ends_within(kill.share * seconds):
            child.kill()
        return child.wait()

    def _check_rows(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Committed rows are there after all that are damaged were dropped."""
        before, during = rows_of(self._template), set()
        if (folder / COMMITTED).exists():
            during = set((folder / COMMITTED).read_text().splitlines())
        ended = call(verify, folder)
        if ended.crash or ended.code:
            yield ended.crash or "stuck", f"cache verify: {ended.last_line}"
            return
        if ended.result:
            yield "wrong", f"{ended.result} rows of the store are damaged"
        there = rows_of(folder)
        if gone := (before | during) - there:
            yield (
                "lost",
                f"{len(gone & before)} of {len(before)} rows of the run before, "
                f"{len(gone & during)} of {len(during)} of this one",
            )

    def _check_output(self, folder: Path) -> Iterator[tuple[str, str]]:
        before, after, *_ = self._rehearsal
        try:
            found = self._observed(folder)
        except RefusedError as error:
            yield "refused", str(error)
        except Exception as error:
            yield "crashed", f"reading the output: {error}"
        else:
            if found not in (before, after):
                yield "wrong", "the output is neither the old one nor the new one"

    def _check_rerun(self, folder: Path) -> Iterator[tuple[str, str]]:
        ended = call(featx_command(*self._arguments(self.new)), folder)
        if ended.crash or ended.code:
            yield ended.crash or "stuck", f"the next run: {ended.last_line}"
            return
        try:
            if self._observed(folder) != self._rehearsal[1]:
                yield "wrong", "the next run gives another output"
        except Exception as error:
            yield "wrong", f"the output of the next run: {error}"
        call(prune, folder)
        if names := self._leftovers(folder):
            yield "left", ", ".join(names)

    def _leftovers(self, folder: Path) -> list[str]:
        """Files that neither a run without a kill leaves nor the campaign makes."""
        self._tidy(folder)
        known = names_in(self.folder / "rehearsal")
        return sorted(names_in(folder) - known)[:5]

    def _tidy(self, folder: Path) -> None:
        for name in ("log.txt", "result.json", COMMITTED, STEPS_TAKEN):
            (folder / name).unlink(missing_ok=True)

    def _observed(self, folder: Path) -> Any:
        """What the output says, read in a process of its own."""
        ended = call(lambda: observation(self.case, folder, self.others), folder)
        if ended.crash or ended.result is None:
            raise RuntimeError(ended.text[-1000:])
        if "refused" in ended.result:
            raise RefusedError(ended.result["refused"])
        return ended.result["found"]


class RefusedError(Exception):
    """featx says in one line that it does not take an output."""


def observation(case: Case, folder: Path, others: Path) -> dict[str, Any]:
    from featx.errors import FeatxError

    try:
        return {"found": json.loads(json.dumps(case.observe(folder / case.output, others)))}
    except FeatxError as error:
        if "\n" in str(error):
            raise
        return {"refused": str(error)}


def verify() -> int:
    from featx.store.feature_store import FeatureStore

    return FeatureStore().verify().n_damaged


def prune() -> None:
    """Remove what killed runs left in the store, which is spared for a minute, as if later."""
    from featx.store.feature_store import FeatureStore

    store = FeatureStore()
    for file in (store.folder / "shards").iterdir():
        os.utime(file, (time.time() - 120,) * 2)
    store.prune()


def rows_of(folder: Path) -> set[str]:
    """Setting and content of every row that the index of a round's store has."""
    index = folder / "store" / "index.sqlite"
    if not index.exists():
        return set()
    query = (
        "SELECT fingerprint, lower(hex(digest)) FROM entries "
        "JOIN settings ON settings.id = entries.setting"
    )
    with closing(sqlite3.connect(index)) as db:
        return {" ".join(row) for row in db.execute(query)}


def names_in(folder: Path) -> set[str]:
    """Names of all that a folder holds but the store's rows, which have names of their own."""
    found = set()
    for place, folders, files in os.walk(folder):
        if Path(place).name == "shards":
            folders.clear()
            files = [name for name in files if name.endswith(".tmp")]
        found.update(str(Path(place, name).relative_to(folder)) for name in (*folders, *files))
    return {name for name in found if not name.startswith(("store/index.sqlite-", "cache/"))}


def make_images(plan: Plan, name: str, first: int, stop: int) -> Path:
    """Folder with some images of each class, their contents shared between folders."""
    folder = plan.folder / "images" / name
    if folder.exists():
        return folder
    for kind in sorted((plan.data / "photo").iterdir()):
        (folder / kind.name).mkdir(parents=True)
        for file in sorted(kind.iterdir())[first:stop] or sorted(kind.iterdir())[-2:]:
            shutil.copy(file, folder / kind.name)
    return folder
