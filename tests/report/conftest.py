"""Results to report on: real features of images that are made here, under hostile names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix

from featx.extractors.pixels import RawPixels
from featx.features.results import Result

SCRIPT = "<script>window.hit = 1</script>"
IMAGE = '<img src="x" onerror="window.hit = 2">'
HOSTILE = (SCRIPT, IMAGE, "</script><!-- $$x^2$$ {{ 7 * 7 }} @names{safe}")
N_PER_CLASS = 20
LAYERS = ("pool1", "pool2", "fc7")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Paths and classes of sixty small images: three hues, each under a hostile name."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths, labels = [], []
    for code, label in enumerate(HOSTILE):
        for i in range(N_PER_CLASS):
            pixels = rng.integers(0, 120, (24, 32, 3), np.uint8)
            pixels[..., code] += 130
            path = folder / f"<b onclick=alert({code})>'\"&{code}-{i:02}.png"
            Image.fromarray(pixels).save(path)
            paths.append(str(path))
            labels.append(label)
    return paths, labels


@pytest.fixture(scope="session")
def depth(images: tuple[list[str], list[str]]) -> Result:
    """What ``depth`` would leave, of the pixels' principal components."""
    paths, labels = images
    X = PCA(6, random_state=0).fit_transform(RawPixels(image_size=8).fit_transform(paths))
    maps = [
        {
            "layer": layer,
            "method": "pca",
            "coordinates": X[:, [i, 2 * i + 1]].tolist(),
            "trustworthiness": 0.9,
            "neighbors_kept": None,
        }
        for i, layer in enumerate(LAYERS)
    ]
    rows = [
        {"spec": f"cnn:m:{layer}", "layer": layer, "index": i, "accuracy": 0.5 + 0.2 * i}
        | {"low": 0.4 + 0.2 * i, "high": 0.55 + 0.2 * i, "accuracy_shuffled": 1 / 3}
        for i, layer in enumerate(LAYERS)
    ]
    points = {"paths": paths, "labels": labels, "splits": None, "domains": None}
    points["predicted"] = labels[1:] + labels[:1]
    cka = {"layers": list(LAYERS), "matrix": np.eye(3).tolist()}
    details = {"maps": maps, "points": points, "cka": cka}
    return Result("depth", SCRIPT, rows, sentences=[f"Found {IMAGE}"], details=details)


@pytest.fixture(scope="session")
def compared(images: tuple[list[str], list[str]]) -> Result:
    """What ``compare`` would leave, of two sizes of pixels and a real classifier."""
    paths, labels = images
    y = np.asarray(labels)
    rows, confusion, mistakes = [], {}, {}
    for size in (1, 4):
        X = RawPixels(image_size=size).fit_transform(paths)
        # So little is fitted that some images are misjudged.
        probe = LogisticRegression(C=1e-3 / size).fit(X[::7, :2], y[::7])
        predicted = probe.predict(X[:, :2])
        sure = probe.predict_proba(X[:, :2]).max(1)
        spec = f"pixels,image_size={size},note={SCRIPT}"
        accuracy = float((predicted == y).mean())
        rows.append({"spec": spec, "accuracy": accuracy, "low": accuracy - 0.1, "high": 1.0})
        rows[-1] |= {"n_features": 3 * size**2, "ms_per_image": 2.0 * size, "C": 1e-3 / size}
        classes = sorted(set(labels))
        matrix = confusion_matrix(y, predicted, labels=classes).tolist()
        confusion[spec] = {"classes": classes, "matrix": matrix}
        mistakes[spec] = [
            {"path": paths[i], "true": labels[i], "predicted": predicted[i], "probability": sure[i]}
            for i in np.flatnonzero(predicted != y)[:5]
        ]
    failures = [("broken \udce9\x00.jpg", f"not an image {SCRIPT}")]
    details = {"confusion": confusion, "mistakes": mistakes}
    provenance = {"command": ["featx", "compare", IMAGE], "versions": {"numpy": "2"}}
    rows.sort(key=lambda row: -row["accuracy"])
    return Result(
        "compare", SCRIPT, rows, failures=failures, details=details, provenance=provenance
    )


@pytest.fixture(scope="session")
def page(depth: Result, compared: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both on one page."""
    from featx.report.writing import write_report

    return write_report([compared, depth], tmp_path_factory.mktemp("report"))
