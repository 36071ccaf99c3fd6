"""Two writers replace a file again and again, a reader reads it: no read mixes two writes.

Every write says who made it: all names and all values of one write carry one number, and the
number of rows follows from it. A read whose parts say different things is torn. featx may also
refuse, in one line, what two writers are replacing: that is counted, and not bad as long as whole
reads come.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from children import Child, start
from tallies import Plan, Tally

COLUMNS = ("reads", "torn", "crashed", "hung", "starved", "refused")
N_WRITERS = 2
N_ROWS, N_COLUMNS = 24, 40
MODEL = "fine-tuned folder"
FORMATS = (".npz", ".npy", ".parquet", ".h5", ".csv", ".safetensors", ".mat", "folder", MODEL)
N_MODELS, LOGIT = 100, 25
"""Fine-tuned networks of different numbers, and what divides a number to make a logit of it."""


@dataclass(frozen=True)
class Case:
    """How one kind of output is written under a number, and how the number is read."""

    write: Callable[[Path, int], None]
    read: Callable[[Path], int | None]
    """Number of the write; None if the parts say different things."""
    pause_s: float = 0.0
    """Least time between the writes of one writer: what takes long to read is else never whole."""


def run(plan: Plan) -> list[Tally]:
    names = [name for name in FORMATS if plan.takes(name)]
    tallies = []
    for i, name in enumerate(names):
        share_s = plan.remaining_s / (len(names) - i)
        tallies.append(race(name, plan, max(0.5, share_s)))
    return tallies


def race(name: str, plan: Plan, seconds: float) -> Tally:
    """Let writers and a reader run until there are enough whole reads, or the time is over."""
    tally = Tally(name)
    folder = plan.folder / name.replace(" ", "_")
    case = model_case(plan.seed) if name == MODEL else features_case()
    path = folder / ("output" if name in ("folder", MODEL) else f"output{name}")
    folder.mkdir()
    case.write(path, 0)
    children = [
        begin(write_forever(case, path, i), folder / f"writer{i}") for i in range(N_WRITERS)
    ]
    reader = begin(read_until(case, path, plan.rounds, seconds), folder / "reader")
    ended = reader.wait(seconds + 60)
    for child in children:
        if child.ends_within(0):
            tally.add("crashed", f"a writer: {child.wait().last_line}")
        else:
            child.kill()
            child.wait()
    if ended.crash or ended.result is None:
        tally.add(ended.crash or "crashed", f"the reader: {ended.last_line} (--seed {plan.seed})")
        return tally
    examples = ended.result.pop("examples")
    tally.counts.update({fault: n for fault, n in ended.result.items() if n})
    tally.rounds = sum(ended.result.values())
    tally.notes += [f"{name}: {example}" for example in examples]
    if not tally.counts["reads"]:
        tally.add("starved", "no read was whole")
    return tally


def begin(task: Callable[[], Any], folder: Path) -> Child:
    folder.mkdir()
    return start(task, folder)


def write_forever(case: Case, path: Path, writer: int) -> Callable[[], None]:
    def write() -> None:
        for number in itertools.count(writer + 1, N_WRITERS):
            started = time.monotonic()
            case.write(path, number % 1000)
            # As long again: what is replaced without a pause is never there to be read.
            time.sleep(max(case.pause_s, time.monotonic() - started))

    return write


def read_until(case: Case, path: Path, n_reads: int, seconds: float) -> Callable[[], Any]:
    def read() -> Any:
        from featx.errors import FeatxError

        counts: Counter[str] = Counter(reads=0)
        examples: list[str] = []
        stop = time.monotonic() + seconds
        while counts["reads"] < n_reads and time.monotonic() < stop:
            try:
                is_torn = case.read(path) is None
                counts["torn" if is_torn else "reads"] += 1
            except FeatxError as error:
                if not counts["refused"]:
                    examples.append(f"refused, such as: {error}")
                counts["refused"] += 1
        return {**counts, "examples": examples}

    return read


def features_case() -> Case:
    """A feature set whose names and values are all those of one write."""
    import numpy as np

    from featx import FeatureSet

    settings = {"extractors": [{"name": "features", "fingerprint": "0" * 32}]}

    def write(path: Path, number: int) -> None:
        n_rows = N_ROWS + number % 2
        X = np.full((n_rows, N_COLUMNS), number, np.float32)
        names = [f"{number}/{i}.png" for i in range(n_rows)]
        FeatureSet(X, names, labels=[str(number)] * n_rows, provenance=settings).save(
            path, force=True
        )

    def read(path: Path) -> int | None:
        found = FeatureSet.load(path)
        texts = {str(name).partition("/")[0] for name in found.paths} | set(map(str, found.labels))
        numbers = set(map(int, texts)) | set(map(int, np.unique(found.X)))
        is_whole = len(numbers) == 1 and len(found) == N_ROWS + min(numbers) % 2
        return numbers.pop() if is_whole else None

    return Case(write, read)


def model_case(seed: int) -> Case:
    """A fine-tuned network: the names of its classes and its probabilities carry one number."""
    import numpy as np
    import torch

    from featx import FineTunedClassifier, predict
    from featx.finetuning.model_folder import save_folder

    torch.manual_seed(seed)
    images = np.random.default_rng(seed).integers(0, 255, (8, 32, 32, 3), np.uint8)
    classifier = FineTunedClassifier(head_epochs=1, epochs=0, validation=0, random_state=seed)
    classifier.fit(images, ["a", "b"] * 4)
    head = [it for it in classifier.network_.modules() if isinstance(it, torch.nn.Linear)][-1]
    head.weight.data.zero_()

    def write(path: Path, number: int) -> None:
        number %= N_MODELS
        head.bias.data = torch.tensor([number / LOGIT, 0.0])
        classifier.classes_ = np.array([f"a{number}", f"b{number}"])
        save_folder(classifier, path)

    def read(path: Path) -> int | None:
        (row,) = predict(str(path), images[:1], store=None).rows
        (first, p), (second, q) = row["probabilities"].items()
        numbers = {int(first[1:]), int(second[1:]), round(LOGIT * math.log(p / q))}
        return numbers.pop() if len(numbers) == 1 else None

    return Case(write, read, pause_s=1.0)
