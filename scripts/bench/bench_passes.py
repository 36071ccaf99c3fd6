"""Images a second of one core by the length of a pass, torch and OpenVINO, network alone.

    python scripts/bench/bench_passes.py [--work squeezenet1_0:pool1,resnet50:-1] [--precision bf16]

Prints the rate of each length and the length that featx takes.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from bench_extract import WORK, network_of

from featx.networks.backends import empty_rows, find_filler, pass_length

LENGTHS = (1, 2, 4, 8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", default=WORK, help="MODEL:LAYER,…")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'':32}" + "".join(f"{length:8}" for length in LENGTHS) + "    taken")
    for work in arguments.work.split(","):
        model, layer = work.split(":")
        extractor = network_of(model, layer, precision=arguments.precision)
        config, taps = extractor._config(), list(extractor._taps([layer]).values())
        pixels = np.random.default_rng(0).integers(
            0, 256, (arguments.images, *config.preprocessing.crop, 3), np.uint8
        )
        rows = empty_rows(len(pixels), taps)
        for backend in ("torch", "openvino"):
            fill = find_filler(config, taps, backend, pixels[:2])
            rates = []
            with extractor.worker_threads([layer], len(pixels), 1) as threads:
                threads.begin()
                for length in LENGTHS:
                    times = []
                    for _ in range(arguments.runs + 1):
                        start = time.perf_counter()
                        for i in range(0, len(pixels), length):
                            fill(pixels[i : i + length], [out[i : i + length] for out in rows])
                        times.append(time.perf_counter() - start)
                    rates.append(len(pixels) / statistics.median(times[1:]))
            name = f"{work} {backend} {arguments.precision}"
            taken = pass_length(config, taps, backend)
            print(f"{name:32}" + "".join(f"{rate:8.0f}" for rate in rates) + f"{taken:9}")


if __name__ == "__main__":
    main()
