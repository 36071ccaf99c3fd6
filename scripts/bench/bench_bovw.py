"""Bags of words of featx against the usual loop, and its codebooks against scikit-learn's.

    python scripts/bench/bench_bovw.py FOLDER [--detector surf] [--images 200] [--pairs 5]
    taskset -c 0 python scripts/bench/bench_bovw.py FOLDER --codebooks [--images 400] [--pairs 3]

The usual loop reads each image with OpenCV, detects the same kind of key points with the same
settings, calls scikit-learn's `KMeans.predict` and counts. Both use the codebook that featx
learned. Prints images per second of both, the median of the pairs' ratios, and the time that
each step of featx takes.

``--codebooks`` compares the learning instead: words with those of `KMeans` and `MiniBatchKMeans`,
mixtures with `GaussianMixture` from the same start. It prints the processor's time, which other
processes hardly change, and the mean squared distance or log-likelihood that each side reaches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mahotas.features import surf
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from featx.data.images import Images, decode
from featx.errors import EmptyRowsWarning, ImageError
from featx.extractors.bovw.bag_of_visual_words import BagOfVisualWords
from featx.extractors.bovw.codebooks import learn_projection, learn_words, nearest_words
from featx.extractors.bovw.mixtures import Mixture, learn_mixture, posteriors
from featx.extractors.bovw.vocabulary import reduce

N_DESCRIPTORS, N_COMPONENTS = 30_000, 64


def main() -> None:
    arguments = parse_arguments()
    paths = find_images(arguments.folder, arguments.images)
    if arguments.codebooks:
        compare_codebooks(paths, arguments)
        return
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
    parser.add_argument("--codebooks", action="store_true", help="compare the learning instead")
    return parser.parse_args()


def find_images(folder: Path, n_images: int) -> list[str]:
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


def compare_codebooks(paths: list[str], arguments: argparse.Namespace) -> None:
    """Print times of learning and what it reached, for words and for mixtures."""
    X, n_words = sample_descriptors(arguments.detector, paths), arguments.words
    print(f"{len(X):,} {arguments.detector} descriptors of {X.shape[1]} values")
    options = {"n_init": 1, "random_state": 0}
    models = [
        KMeans(n_words, max_iter=25, **options),
        MiniBatchKMeans(n_words, max_iter=16, batch_size=4096, max_no_improvement=None, **options),
    ]
    for model in models:
        name = f"{n_words} words, {type(model).__name__}"
        learn = partial(fit_words, model, X)
        measured = partial(distance, X)
        compare(name, partial(learn_words, X, n_words, 0), learn, measured, arguments.pairs)
    Z = reduce(X, *learn_projection(X, min(N_COMPONENTS, X.shape[1])))
    ours = partial(learn_mixture, Z, N_COMPONENTS, 0)
    name = f"{N_COMPONENTS} components, GaussianMixture"
    compare(name, ours, partial(fit_mixture, Z), partial(likelihood, Z), arguments.pairs)


def sample_descriptors(detector: str, paths: list[str]) -> Any:
    """Descriptors of the images in random order: (n, d), float32."""
    bag, images = BagOfVisualWords(detector), Images(paths)
    descriptors = bag._base()
    rows = [
        descriptors._describe(descriptors._prepare(images.pixels(i))) for i in range(len(paths))
    ]
    X = bag._compare(np.concatenate(rows))[1]
    return X[np.random.default_rng(0).permutation(len(X))[:N_DESCRIPTORS]]


def fit_words(model: Any, X: Any) -> Any:
    return model.fit(X).cluster_centers_


def fit_mixture(Z: Any) -> Mixture:
    """Scikit-learn's mixture with our start, stopping rule and number of iterations."""
    start = learn_mixture(Z, N_COMPONENTS, 0, max_iter=0)
    model = GaussianMixture(
        N_COMPONENTS,
        covariance_type="diag",
        tol=1e-3,
        max_iter=50,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=1 / start.variances,
    ).fit(Z)
    return Mixture(model.weights_, model.means_, model.covariances_)


def distance(X: Any, words: Any) -> float:
    """Mean squared distance of descriptors to their words."""
    return float(nearest_words(X, words)[1].mean(dtype=np.float64))


def likelihood(Z: Any, mixture: Mixture) -> float:
    """Mean log-likelihood of descriptors."""
    return float(posteriors(Z, mixture)[1].mean())


def compare(
    name: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    measure: Callable[[Any], float],
    n_pairs: int,
) -> None:
    """Print the processor's time of both sides, the median ratio, and what each reached."""
    pairs = [(timed(ours), timed(theirs)) for _ in range(n_pairs)]
    ratio = statistics.median(their[0] / our[0] for our, their in pairs)
    print(f"{name}: ratio {ratio:.2f}")
    for side, results in zip(("featx", "scikit-learn"), zip(*pairs, strict=True), strict=True):
        seconds = statistics.median(seconds for seconds, _ in results)
        print(f"    {side:12s} {seconds:6.2f} s, reaches {measure(results[0][1]):.5g}", flush=True)


def timed(learn: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor in one thread of BLAS and OpenMP, and the result."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        result = learn()
        return time.process_time() - start, result


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
