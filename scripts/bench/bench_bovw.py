"""Bags of words of featx against the usual loop, from files to histograms, in turn.

    python scripts/bench/bench_bovw.py FOLDER [--detector surf] [--images 200] [--pairs 5]

The usual loop reads each image with OpenCV, finds the same kind of key points with the same
settings, asks scikit-learn's `KMeans.predict` and counts. Both use the same words, which featx
has learned. Prints images a second of both, the median of the pairs' ratios, and where the
time of featx goes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mahotas.features import surf
from sklearn.cluster import KMeans

from featx.data.images import Images, decode
from featx.errors import EmptyRowsWarning, ImageError
from featx.extractors.bovw.bag_of_visual_words import BagOfVisualWords


def main() -> None:
    arguments = parse_arguments()
    paths = find(arguments.folder, arguments.images)
    bag = BagOfVisualWords(arguments.detector, n_words=arguments.words, n_jobs=arguments.jobs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyRowsWarning)
        bag.fit(paths).transform(paths[:8])
        pairs = [measure(bag, paths) for _ in range(arguments.pairs)]
    ours, theirs = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    ratio = statistics.median(our / their for our, their in pairs)
    print(f"{arguments.detector}, {arguments.words} words, {len(paths)} images")
    print(f"cores         {os.cpu_count():10d}, n_jobs={arguments.jobs}")
    print(f"featx         {ours:10.1f} images/s")
    print(f"usual loop    {theirs:10.1f} images/s")
    print(f"ratio         {ratio:10.2f} (median of {arguments.pairs} pairs)")
    for part, milliseconds in split_time(bag, paths[:50]).items():
        print(f"{part:13s} {milliseconds:10.2f} ms per image, one thread")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", choices=sorted(LOOP), default="surf")
    parser.add_argument("--words", type=int, default=500)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=None)
    return parser.parse_args()


def find(folder: Path, n_images: int) -> list[str]:
    """Readable images under a folder, in order."""
    paths = []
    for path in sorted(path for path in folder.rglob("*.*") if path.is_file()):
        try:
            decode(path)
        except ImageError:
            continue
        paths.append(str(path))
        if len(paths) == n_images:
            break
    return paths


def measure(bag: BagOfVisualWords, paths: list[str]) -> tuple[float, float]:
    """Images a second, featx and the usual loop."""
    words = KMeans(len(bag.codebook_), n_init=1, max_iter=1).fit(bag.codebook_.astype(np.float32))
    start = time.perf_counter()
    bag.transform(paths)
    middle = time.perf_counter()
    usual_loop(paths, LOOP[bag.detector], words)
    end = time.perf_counter()
    return len(paths) / (middle - start), len(paths) / (end - middle)


def usual_loop(paths: list[str], describe: Callable[[Any], Any], words: KMeans) -> np.ndarray:
    rows = []
    for path in paths:
        image = cv2.imread(path)
        scale = 320 / max(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        values = describe(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
        labels = [] if values is None or not len(values) else words.predict(values)
        rows.append(np.bincount(np.asarray(labels, int), minlength=words.n_clusters))
    return np.stack(rows)


def by_surf(gray: Any) -> Any:
    return surf.surf(gray, threshold=0.1, max_points=1024, descriptor_only=True).astype(np.float32)


def by_sift(gray: Any) -> Any:
    return cv2.SIFT_create().detectAndCompute(gray, None)[1]


def by_orb(gray: Any) -> Any:
    values = cv2.ORB_create(nfeatures=1000, fastThreshold=7).detectAndCompute(gray, None)[1]
    return None if values is None else values.astype(np.float32)


LOOP = {"surf": by_surf, "sift": by_sift, "orb": by_orb}


def split_time(bag: BagOfVisualWords, paths: list[str]) -> dict[str, float]:
    """Milliseconds per image that each step of featx takes in one thread."""
    images, descriptors = Images(paths), bag._base()
    times, items = {}, list(range(len(images)))
    for part, step in {
        "decode": images.pixels,
        "resize": descriptors._prepare,
        "describe": descriptors._describe,
        "encode": lambda rows: bag._extract([rows]),
    }.items():
        start = time.perf_counter()
        items = [step(item) for item in items]
        times[part] = 1e3 * (time.perf_counter() - start) / len(images)
    return times


if __name__ == "__main__":
    main()
