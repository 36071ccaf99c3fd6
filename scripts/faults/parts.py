"""One run in two parts in two processes at once, one of them killed and repeated; then merged.

The merge is killed too, and repeated. The merged store must hold what the store of one run holds,
bit for bit (else wrong), and that run on it must compute nothing (else lost). Networks run with
`--reproducible`; their rows are the same bytes then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from children import Ended, call, featx_command, start
from tallies import Plan, Tally

COLUMNS = ("killed", "wrong", "lost", "stuck", "crashed", "hung")
CASES = {
    "hog": ("-e", "hog"),
    "bovw:orb": ("-e", "bovw:orb,n_words=16"),
    "network": ("--layer", "pool1,fc7", "--reproducible"),
}
N_PARTS = 2


def run(plan: Plan) -> list[Tally]:
    """All rounds, the cases in turn."""
    cases = [Case(name, CASES[name], plan) for name in CASES if plan.takes(name)]
    tallies = {case.name: Tally(case.name) for case in cases}
    for number in plan.numbers():
        case = cases[number % len(cases)]
        tallies[case.name].rounds += 1
        for fault, note in case.round(number):
            tallies[case.name].add(fault, f"{note} {plan.options(number)}")
    return list(tallies.values())


class Case:
    """A command, what one run of it stores, and how long a part takes."""

    def __init__(self, name: str, options: tuple[str, ...], plan: Plan) -> None:
        self.name, self.options, self.plan = name, options, plan
        self.folder = plan.folder / name.replace(":", "_")

    def round(self, number: int) -> Iterator[tuple[str, str]]:
        """Faults of one kill of a part and one of the merge."""
        whole, seconds = self._rehearsal
        rng = self.plan.rng("parts", number)
        folder = self.folder / str(number)
        folders = [folder / f"part{k}" for k in range(N_PARTS)]
        for it in (*folders, folder / "all"):
            it.mkdir(parents=True)
        children = [start(self._extract(k), folders[k]) for k in range(N_PARTS)]
        victim = rng.randrange(N_PARTS)
        if not children[victim].ends_within(rng.uniform(0, 1.05) * seconds):
            children[victim].kill()
        ends = [child.wait() for child in children]
        if ends[victim].code == -9:
            yield "killed", ""
            ends[victim] = call(self._extract(victim), folders[victim])
        yield from complaints("a part", *ends)
        merge = featx_command(
            "cache", "merge", *(str(it / "store") for it in folders), "--to", "store"
        )
        child = start(merge, folder / "all")
        if not child.ends_within(rng.uniform(0, 0.5)):
            child.kill()
        if child.wait().code == -9:
            yield "killed", ""
        yield from complaints("the merge", call(merge, folder / "all"))
        yield from self._check(folder / "all", whole)

    def _check(self, folder: Path, whole: dict[str, str]) -> Iterator[tuple[str, str]]:
        before = call(rows, folder).result
        if before is None or not whole.items() <= before.items():
            yield "wrong", "the merged rows are not those of one run"
        ended = call(self._extract(None), folder)
        yield from complaints("one run on the merged store", ended)
        if call(rows, folder).result != before:
            yield "lost", "one run on the merged store computes something"

    @cached_property
    def _rehearsal(self) -> tuple[dict[str, str], float]:
        """Rows of one run, and the seconds of a part."""
        folder, part = self.folder / "one", self.folder / "rehearsal"
        for it in (folder, part):
            it.mkdir(parents=True)
        ended = call(self._extract(None), folder)
        if ended.code:
            raise RuntimeError(f"{self.name} fails without a kill: {ended.text[-2000:]}")
        return call(rows, folder).result, call(self._extract(0), part).seconds

    def _extract(self, index: int | None) -> Callable[[], None]:
        part = () if index is None else ("--part", f"{index + 1}/{N_PARTS}")
        images = str(self.plan.data / "photo")
        return featx_command("extract", images, *self.options, *part, "-o", "-", "-q")


def complaints(what: str, *ends: Ended) -> Iterator[tuple[str, str]]:
    """A fault for each process that should have ended well and did not."""
    for ended in ends:
        if ended.crash or ended.code:
            yield ended.crash or "stuck", f"{what}: {ended.last_line}"


def rows() -> dict[str, Any]:
    """Setting and content of all entered rows of this process's store -> digest of the values."""
    from featx.store.feature_store import FeatureStore

    store = FeatureStore()
    held = {}
    for file in store.shard_names():
        shard, _, values = store.read_shard(file)
        spans = list(zip(shard.digests, shard.starts, shard.stops, strict=True))
        entered = set(shard.digests) - {
            shard.digests[i] for i in store.missing(shard.fingerprint, shard.digests)
        }
        for digest, begin, stop in spans:
            if digest in entered:
                key = f"{shard.fingerprint} {digest}"
                held[key] = hashlib.sha256(values[begin:stop].tobytes()).hexdigest()
    return held
