"""Faults and attacks on featx: what they did, in a table; exit code 1 if anything went wrong.

    python scripts/faults/run.py [--short] [--only kills,torn_reads] [--seed N]

Campaigns: kills, torn_reads, mutated_files, interruptions, full_disk, parts. Each says in
its module what it does and what counts as a fault. `--short` takes less than 90 seconds, in which
each campaign goes as far as it comes; without it they take about an hour. A fault is printed with
the options that repeat its round.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# One thread each: a process that has started others is not to be forked.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from tallies import Plan, print_table  # noqa: E402 - after the threads are set.

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Size:
    """Rounds and seconds of a campaign, whole and short."""

    rounds: int
    seconds: float
    short_rounds: int
    short_seconds: float


CAMPAIGNS = {
    "kills": Size(600, 2400, 22, 20),
    "torn_reads": Size(1000, 1200, 60, 12),
    "mutated_files": Size(10_000, 1200, 800, 12),
    "interruptions": Size(360, 2400, 6, 14),
    "full_disk": Size(60, 600, 2, 10),
    "parts": Size(60, 1200, 3, 10),
}
"""Rounds are kills, whole reads per format, files, attacks, signals, commands, runs."""

WARM = [
    "featx.cli",
    "featx.engine.extraction",
    "featx.engine.persistence",
    "featx.evaluation.comparison",
    "featx.evaluation.prediction",
    "featx.analysis.depth",
    "featx.finetuning.experiment",
    "featx.report.writing",
    "featx.store.feature_store",
    "matplotlib.pyplot",
    "bokeh.plotting",
    "pyarrow.parquet",
    "pyarrow.csv",
    "h5py",
    "scipy.io",
    "safetensors.torch",
    "skops.io",
    "torch",
]
"""Modules that children need, imported once."""


def main() -> None:
    arguments = parse_arguments()
    started = time.monotonic()
    for module in WARM:
        importlib.import_module(module)
    import featx

    print(f"featx {featx.__version__} in {Path(featx.__file__).parent}, seed {arguments.seed}\n")
    is_bad = False
    with tempfile.TemporaryDirectory(prefix="featx-faults-") as folder:
        for name in arguments.only.split(","):
            is_bad |= run_campaign(name, Path(folder), arguments)
    print(f"{time.monotonic() - started:.0f} s: {'FAULTS' if is_bad else 'no fault'}")
    sys.exit(int(is_bad))


def run_campaign(name: str, folder: Path, arguments: argparse.Namespace) -> bool:
    """Run a campaign and print its table; whether a column is bad."""
    size = CAMPAIGNS[name]
    rounds, seconds = (
        (size.short_rounds, size.short_seconds) if arguments.short else (size.rounds, size.seconds)
    )
    (folder / name).mkdir()
    plan = Plan(
        folder=folder / name,
        seed=arguments.seed,
        rounds=rounds if arguments.rounds is None else arguments.rounds,
        seconds=seconds if arguments.seconds is None else arguments.seconds,
        data=ROOT / "data" / "samples",
        only_round=arguments.round,
        case=arguments.case,
    )
    campaign = importlib.import_module(name)
    tallies = campaign.run(plan)
    print_table(name, campaign.COLUMNS, tallies, plan)
    return any(tally.is_bad for tally in tallies)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small counts, under 90 s")
    parser.add_argument("--only", default=",".join(CAMPAIGNS), help="campaigns, with commas")
    parser.add_argument("--case", default="", help="only cases whose names contain this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, help="of each campaign")
    parser.add_argument("--seconds", type=float, help="after which a campaign begins no round")
    parser.add_argument("--round", type=int, help="repeat this one alone, with --only and --seed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
