"""What a campaign counts, how long it may take, and its table."""

from __future__ import annotations

import random
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

INFORMATIVE = frozenset({"reads", "refused", "killed", "skipped", "ended", "early", "done"})
"""Columns that may be anything; every other one must be 0."""

N_NOTES_SHOWN = 12


@dataclass
class Tally:
    """Counts of one case of a campaign, and how to repeat what went wrong."""

    case: str
    rounds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, fault: str, note: str) -> None:
        """Count a fault; the note says how to see it again."""
        self.counts[fault] += 1
        if fault not in INFORMATIVE:
            self.notes.append(f"{self.case}: {fault}: {note}")

    @property
    def is_bad(self) -> bool:
        """Whether anything went wrong."""
        return any(n for fault, n in self.counts.items() if fault not in INFORMATIVE)


@dataclass(frozen=True)
class Plan:
    """How far a campaign goes: a number of rounds, and a time after which none begins.

    Parameters
    ----------
    folder : Path
        Scratch folder of the campaign.
    seed : int
        Every round's random numbers follow from it and the round's number.
    rounds : int
        Rounds of the campaign; a round is one kill, file, read or signal.
    seconds : float
        Time after which no round begins.
    only_round : int, optional
        Repeat this one alone.
    data : Path
        Folder of image folders, ``photo/CLASS`` and ``sketch/CLASS``.
    case : str
        Only cases whose names contain it.
    """

    folder: Path
    seed: int
    rounds: int
    seconds: float
    data: Path
    only_round: int | None = None
    case: str = ""
    started: float = field(default_factory=time.monotonic)

    def rng(self, *key: object) -> random.Random:
        """Random numbers of a purpose."""
        return random.Random(f"{self.seed} {key}")

    def takes(self, case: str) -> bool:
        """Whether a case is to be run."""
        return self.case in case

    def options(self, number: int) -> str:
        """Options of the runner that repeat a round."""
        case = f" --case {shlex.quote(self.case)}" if self.case else ""
        return f"(--only {self.folder.name} --seed {self.seed}{case} --round {number})"

    @property
    def remaining_s(self) -> float:
        """Seconds until no further round begins."""
        return self.seconds - (time.monotonic() - self.started)

    def numbers(self) -> Iterator[int]:
        """Numbers of the rounds, as long as there is time."""
        if self.only_round is not None:
            yield self.only_round
            return
        for number in range(self.rounds):
            if self.remaining_s <= 0:
                return
            yield number


def print_table(name: str, columns: Sequence[str], tallies: Sequence[Tally], plan: Plan) -> None:
    """Print a campaign's counts by case and in sum, and how to repeat what went wrong."""
    total = Tally("all", sum(tally.rounds for tally in tallies))
    for tally in tallies:
        total.counts.update(tally.counts)
    others = sorted({fault for fault in total.counts if fault not in columns})
    headings = ["rounds", *columns, *others]
    print(f"{name:24}" + "".join(f"{heading:>10}" for heading in headings))
    for tally in [*tallies, total]:
        cells = [tally.rounds, *(tally.counts[heading] for heading in headings[1:])]
        print(f"  {tally.case:22}" + "".join(f"{cell:10,}" for cell in cells))
    if plan.only_round is None and plan.remaining_s <= 0:
        print(f"  ended by its limit of {plan.seconds:.0f} s; {plan.rounds:,} rounds were planned")
    notes = [note for tally in tallies for note in tally.notes]
    for note in notes[:N_NOTES_SHOWN]:
        print(f"  ! {note}")
    if len(notes) > N_NOTES_SHOWN:
        print(f"  ! and {len(notes) - N_NOTES_SHOWN:,} more")
    print(flush=True)
