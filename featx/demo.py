"""The whole story on one data set: extraction, comparison, depth, report, in plain words."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from featx.analysis.depth import depth_profile
from featx.analysis.layer_choice import choose_layers
from featx.analysis.points import sample_evenly
from featx.data.datasets import ImageDataset, load_dataset
from featx.data.images import Images
from featx.data.listings import BUILT_IN
from featx.engine.extraction import extract
from featx.engine.session import open_session
from featx.engine.specs import make_extractor
from featx.errors import DatasetError, ImageError
from featx.evaluation.comparison import compare
from featx.features.columns import shown_columns
from featx.features.results import Result
from featx.networks.configs import list_layers
from featx.report.writing import write_report
from featx.streaming.progress import ProgressCallback
from featx.streaming.rows import stream_inputs

_HERE = Path(__file__).parent
N_IMAGES = 500
_N_LOOKED_AT = 40
_SMALL_PX = 64
_SAMPLES = next(
    (folder for folder in (_HERE / "samples", _HERE.parent / "data/samples") if folder.is_dir()),
    _HERE / "samples",
)
"""Drawn images: inside the package where it was installed, beside it in a checkout."""
_DRAWN = (
    "The images are drawn: colors, textures, poses, backgrounds and clutter have the same "
    "distribution in all classes, only shapes differ. featxnet was trained on photographs, among "
    "them objects of most of these classes, but not of carrot, key and windmill."
)
Row = Mapping[str, Any]


@dataclass
class Story:
    """Results of a demonstration.

    Attributes
    ----------
    results : list of Result
        Depth profile and comparison.
    report : Path
        The page to open.
    sentences : list of str
        Everything that was printed, including headings.
    """

    results: list[Result]
    report: Path
    sentences: list[str] = field(default_factory=list)


def tell_story(
    data: Any = "drawings",
    *,
    model: str = "featxnet",
    weights: str = "default",
    report: str | os.PathLike[str] = "featx-demo",
    max_images: int | None = N_IMAGES,
    store: Any = "default",
    random_state: int = 0,
    tell: Callable[[str], None] | None = None,
    progress: ProgressCallback | None = None,
    **parameters: Any,
) -> Story:
    """Extract and compare features, profile layers and write a report, with a comment on each step.

    Parameters
    ----------
    data : str, path or ImageDataset, default="drawings"
        Images with classes.
    model : str, default="featxnet"
    weights : str or path, default="default"
    report : path, default="featx-demo"
        Folder for the report.
    max_images : int or None, default=500
        Maximum number of images, drawn evenly from all classes.
    store : path, FeatureStore or None, default="default"
    random_state : int, default=0
    tell : callable, optional
        Called with each sentence.
    progress : ProgressCallback, optional
    **parameters
        Passed to the extractors: ``n_jobs``, ``device``.

    Returns
    -------
    Story

    Raises
    ------
    DatasetError
        If there are no images or no classes.
    """
    printed: list[str] = []

    def say(*sentences: str) -> None:
        for sentence in sentences:
            printed.append(sentence)
            if tell is not None:
                tell(sentence)

    whole, cache, progress, parameters = open_session(
        data, store=store, progress=progress, **parameters
    )
    known = {"store": cache, "progress": progress, **parameters}
    dataset = _sample(whole, max_images, random_state)
    steps = choose_layers(list_layers(model, trust=parameters.get("trust")))
    layers = _choose_three(steps)
    early, late = layers[0], layers[-1]
    say("1. The images", *_describe_images(dataset, len(whole)))
    say("2. Features, and the store", *_extracted(dataset, model, weights, layers, known))
    specs = [_spec(model, name, weights) for name in layers]
    words, why = _choose_words(dataset.images)
    compared = compare(dataset, ["hog", words, *specs], random_state=random_state, **known)
    say(
        "3. Which features win?",
        why,
        compared.to_markdown([column.name for column in shown_columns("demo")]),
        *_describe_table(compared.rows, dataset.labels),
    )
    say(*compared.sentences)
    seen = [name for index, name in enumerate(steps) if index % 3 == 0 or name in layers]
    profile = depth_profile(
        dataset, model, seen, weights=weights, random_state=random_state, **known
    )
    say("4. Depth", *profile.sentences, _describe_maps(profile.details["maps"]))
    if dataset.source == "drawings":
        profile.sentences.insert(0, _DRAWN)
    results = [profile, compared]
    page = write_report(results, report)
    say("5. The report", f"Open {page} in a browser: linked embeddings, curves and tables.")
    say("6. Your own images", *_next_commands(dataset, model, early, late))
    return Story(results, page, printed)


def _describe_images(dataset: ImageDataset, n_all: int) -> list[str]:
    """What the images are."""
    assert dataset.labels is not None
    n_classes = len(np.unique(dataset.labels))
    side = _middle_side(dataset.images)
    first = f"{len(dataset):,} images of {n_classes} classes ({dataset.source})"
    sizes = "" if side is None else f", median shorter side {side} px"
    about = [_DRAWN] if dataset.source == "drawings" else []
    if len(dataset) == n_all:
        return [f"{first}{sizes}.", *about]
    return [f"{first}{sizes}; sampled evenly from {n_all:,} to keep the demo short.", *about]


def _choose_three(steps: Sequence[str]) -> list[str]:
    """An early, a middle and a late layer: first and last pooling, and the last of all.

    Examples
    --------
    >>> _choose_three(["conv1", "pool1", "conv2", "pool2", "fc3"])
    ['pool1', 'pool2', 'fc3']
    """
    pools = [name for name in steps if name.startswith("pool")] or list(steps[:1])
    return list(dict.fromkeys([pools[0], pools[-1], steps[-1]]))


def _choose_words(images: Images) -> tuple[str, str]:
    """Bag of words that suits the images, and why.

    Returns
    -------
    spec, reason : str
    """
    side, n_points = _middle_side(images), _count_points(images)
    density = f"SURF finds {n_points:.1f} key points per image"
    if side is not None and side < _SMALL_PX:
        there = ""
        if _SAMPLES.is_dir():
            drawn = load_dataset(_SAMPLES).images
            there = (
                f", {_count_points(drawn):.0f} in the drawn ones of {_middle_side(drawn)} px that "
            )
            there += "come with featx"
        return "bovw:dense_sift,n_words=100,image_size=64", (
            f"Images of {side} px have few key points: {density}{there}. So SIFT is computed on a "
            "grid instead."
        )
    return (
        "bovw:surf,n_words=100",
        f"{density}; a bag of 100 SURF words represents hand-crafted features.",
    )


def _count_points(images: Images) -> float:
    """Mean number of SURF key points in a few images as they come, not enlarged."""
    few = images.take(
        list(range(0, len(images), max(1, len(images) // _N_LOOKED_AT)))[:_N_LOOKED_AT]
    )
    side = _middle_side(few) or _SMALL_PX
    detector = make_extractor("bovw:surf", image_size=max(16, side), n_words=2, on_error="nan")
    counts = [len(item) for item in stream_inputs(detector, few) if isinstance(item, np.ndarray)]
    return float(np.mean(counts)) if counts else 0.0


def _describe_table(rows: Sequence[Row], labels: Any) -> list[str]:
    """What a comparison says about networks, hand-crafted features, depth and controls.

    Parameters
    ----------
    rows : sequence of dict
        Of `compare`, best first.
    labels : array of str
        Of the images.
    """
    features = [row for row in rows if not row["is_control"]]
    layers = [row for row in features if row["layer"]]
    hand = next(row for row in features if not row["layer"])
    random_weights = next((row for row in rows if row["spec"].endswith("weights=random")), None)
    sentences = [
        _against(layers[0], f"the network's layer {layers[0]['layer']}", hand, hand["spec"])
    ]
    if len(layers) > 1:
        better, worse = layers[0], layers[-1]
        names = [f"layer {row['layer']}" for row in (better, worse)]
        sentences.append(_against(better, names[0], worse, names[1]))
    if random_weights is not None:
        names = ["the trained network", "the network with random weights"]
        sentences.append(_against(layers[0], names[0], random_weights, names[1]))
    return [*sentences, _chance(rows, labels)]


def _against(first: Row, first_name: str, second: Row, second_name: str) -> str:
    """Which of two is ahead, and by how much."""
    better, worse, names = first, second, (first_name, second_name)
    if first["accuracy"] < second["accuracy"]:
        better, worse, names = second, first, (second_name, first_name)
    points = 100 * (better["accuracy"] - worse["accuracy"])
    figures = f"{better['accuracy']:.3f} against {worse['accuracy']:.3f}"
    if points < 0.05:
        return f"{names[0]} and {names[1]} are level: {figures}."
    doubt = ""
    if not better["difference"] and worse["is_tied"]:
        doubt = "; the difference may be due to chance"
    return f"{names[0]} is {points:.1f} points ahead of {names[1]}: {figures}{doubt}."


def _chance(rows: Sequence[Row], labels: Any) -> str:
    shuffled = next(row for row in rows if row["spec"] == "shuffled labels")
    share = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    head = f"With shuffled labels the best features reach {shuffled['accuracy']:.3f}"
    if shuffled["low"] <= share:
        return f"{head}, no more than chance: nothing leaks from training to test."
    return (
        f"{head}, more than the fraction of the largest class, {share:.3f}: check for duplicate "
        "images with `featx check`."
    )


def _describe_maps(maps: Sequence[Mapping[str, Any]]) -> str:
    """Whether the maps can be trusted, and where."""
    if not maps:
        return "No maps were drawn."
    worst = min(maps, key=lambda entry: entry["trustworthiness"])
    return (
        f"2-D embeddings of {', '.join(entry['layer'] for entry in maps)}: the least "
        f"faithful is that of {worst['layer']}, trustworthiness {worst['trustworthiness']:.2f} "
        f"(1 is faithful, 0.5 is chance), {worst['neighbors_kept']:.0%} of the neighbors kept."
    )


def _sample(dataset: ImageDataset, n_wanted: int | None, random_state: int) -> ImageDataset:
    """Labeled images, at most so many, of all classes alike."""
    if dataset.labels is None:
        raise DatasetError(
            f"{dataset.source}: no labels; expected folders <class>/<image>, or a manifest with "
            "a column 'label'."
        )
    known = np.flatnonzero(dataset.labels != "")
    if n_wanted is not None:
        known = known[sample_evenly(dataset.labels[known], n_wanted, random_state)]
    return dataset.take(known)


def _extracted(
    dataset: ImageDataset, model: str, weights: str, layers: list[str], known: dict[str, Any]
) -> list[str]:
    """Features taken twice, and what the store saves."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        features = extract(
            dataset, model=model, layer=layers, weights=weights, pooling="gap", **known
        )
        seconds.append(time.perf_counter() - started)
    n_failed = len(features.failures)
    first, again = seconds
    widths = ", ".join(f"{b - a} features at {name}" for name, (a, b) in features.blocks.items())
    sentences = [
        f"{model} gives {widths}, averaged over positions: {first:.2f} s for {len(features):,} "
        "images.",
        f"Again, from the store: {again:.2f} s, {first / again:.0f} times as fast."
        if first > 1.5 * again
        else f"Again: {again:.2f} s; the features were already in the store.",
    ]
    if n_failed:
        sentences.append(f"{n_failed} images could not be read and were skipped.")
    return sentences


def _spec(model: str, layer: str, weights: str) -> str:
    suffix = "" if weights == "default" else f",weights={weights}"
    return f"cnn:{model}:{layer},pooling=gap{suffix}"


def _middle_side(images: Images) -> int | None:
    """Median of the shorter sides of a few images, in pixels; None if none can be read."""
    sides = []
    for index in range(0, len(images), max(1, len(images) // _N_LOOKED_AT)):
        try:
            sides.append(min(images.pixels(index).shape[:2]))
        except ImageError:
            continue
    return int(median(sides)) if sides else None


def _next_commands(dataset: ImageDataset, model: str, early: str, late: str) -> list[str]:
    own = "my_photos/" if dataset.source in BUILT_IN else dataset.quoted_source
    return [
        f"featx compare {own} -e hog -e bovw:surf --model {model} --layer {early} --layer {late}",
        f"featx depth {own} --model {model} --report depth/",
        f"featx probe {own} --model {model} --layer {late} --save probe.skops",
        "featx predict probe.skops more_photos/",
    ]
