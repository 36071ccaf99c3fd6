"""Benchmarks run to their end at a small size and print what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from featx import load_dataset
from featx.finetuning.autoencoder import pretrain

ROOT = Path(__file__).parents[2]
SAMPLES = "data/samples"

pytestmark = pytest.mark.slow

SMALL = {
    "bench_extract": (
        f"{SAMPLES} --images 100 --pairs 1 --work squeezenet1_0:pool1",
        r"featx fp32 +[\d.]+ images/s +[\d.]+x the recipe\n.*decode .*resize .*write",
    ),
    "bench_extract six layers": (
        f"{SAMPLES} --images 30 --pairs 1 --work squeezenet1_0:-1 --layers",
        r"[\d.]+x its time",
    ),
    "bench_passes": (
        "--work squeezenet1_0:pool1 --images 4 --runs 1",
        r"torch fp32 .*\n.*openvino fp32( +\d+){8}",
    ),
    "bench_hog": (f"{SAMPLES} --size 64 --images 30 --loop 10 --pairs 1", r"ratio +[\d.]+"),
    "bench_bovw surf": (
        f"{SAMPLES} --detector surf --words 20 --images 12 --pairs 1",
        r"ratio +[\d.]+",
    ),
    "bench_bovw orb": (
        f"{SAMPLES} --detector orb --words 20 --images 12 --pairs 1",
        r"ratio +[\d.]+",
    ),
    "bench_store": (
        f"{SAMPLES} --images 30 --runs 1 --extractor cnn:squeezenet1_0:pool1,weights=random",
        r"cold +[\d.]+ s.*\nwarm +[\d.]+ s +\d+x.*\nwriting .*MB/s\none image +[\d.]+ s",
    ),
    "bench_scaling": (
        "--counts 20,40 --extractor color",
        r"20 +cold +[\d.]+ .*\n.*20 +warm.*\n.*to files.*\n.*40 +cold",
    ),
    "bench_probe": (
        "--n-rows 120 --n-columns 300 --n-grid 3 --folds 2",
        r"(?s)LinearProbe.*LogisticRegressionCV",
    ),
    "bench_decode": (
        f"{SAMPLES} --side 600 --images 4 --pairs 1 --work featxnet:-1",
        r"featxnet:-1 +full +[\d.]+ images/s +scaled +[\d.]+ +[\d.]+x +rows move by",
    ),
    "bench_remote": (
        f"{SAMPLES} --images 20 --pairs 1 --delay-ms 5",
        r"remote +[\d.]+ images/s.*\n.* [\d.]+ of the disk's throughput",
    ),
    "bench_featxnet": ("--batch 1 --pairs 1", r"[\d.]+ ms"),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_prints_its_table(name: str) -> None:
    arguments, expected = SMALL[name]
    output = run(name.split()[0], arguments.split())
    assert re.search(expected, output), output


def test_batch_norm_is_measured(shared: Callable[[str], Path]) -> None:
    weights = shared("weights/cifar10-resnet20-12fca82f.th")
    data = shared("data/pacs_mini")
    few = "--domains sketch --seeds 1 --epochs 1 --pool 30"
    assert "frozen" in run("bench_batch_norm", [str(data), str(weights), *few.split()])


def test_commands_are_measured_against_plain_scripts(shared: Callable[[str], Path]) -> None:
    shared("data/flowers17")
    output = run("bench_commands", ["--only", "one,hog", "--pairs", "1"])
    measured = r"plain [\d.]+ s, [\d.]+ s, \d+ MB +featx [\d.]+ s, [\d.]+ s, \d+ MB +[\d.]+x"
    assert len(re.findall(measured, output)) == 2, output


def test_pretraining_is_measured(tmp_path: Path) -> None:
    digits = load_dataset("digits").take(range(300))
    for index, label in enumerate(digits.labels):
        folder = tmp_path / "digits" / ("test" if index % 3 else "train") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images.pixels(index)).save(folder / f"{index}.png")
    weights = tmp_path / "autoencoder.safetensors"
    pretrain(digits, epochs=1, n_shown=2).save(weights)
    few = "--per-class 5 --seeds 2 --epochs 1 --validation 0"
    output = run("bench_pretraining", [str(tmp_path / "digits"), str(weights), *few.split()])
    assert re.search(r"autoencoder's convolutions, frozen: 0\.\d+ \[", output), output
    assert len(re.findall(r"[+-]0\.\d+, p = ", output)) == 2, output


def run(script: str, arguments: list[str]) -> str:
    """What a benchmark prints; it is run as its user would."""
    command = [sys.executable, f"scripts/bench/{script}.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert not done.returncode, done.stderr
    return done.stdout
