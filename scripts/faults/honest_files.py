"""Small sound files of every kind that featx reads, and how it reads each: what is attacked."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGE_FORMATS = ("jpg", "png", "gif", "bmp", "tif", "webp", "ppm", "jp2", "avif")
FEATURE_FORMATS = (".npz", ".npy", ".parquet", ".h5", ".csv", ".safetensors", ".mat", "")
MANIFEST_FORMATS = ("csv", "tsv", "parquet")
SPEC = "pixels,image_size=4"
N_IMAGES = 3


@dataclass(frozen=True)
class Kind:
    """Files of one kind: a folder with all that one reading takes."""

    name: str
    build: Callable[[Path, Sequence[Path]], object]
    """Makes the files in a folder, given images."""
    read: Callable[[Path, Sequence[Path]], object]
    """Reads them through featx; a text is a fault, see `mutated_files`."""
    spared: tuple[str, ...] = ()
    """Names of files that stay as they are."""


def kinds() -> list[Kind]:
    return [
        *(Kind(f"image .{suffix}", image_builder(suffix), read_images) for suffix in IMAGE_FORMATS),
        *(
            Kind(f"features {suffix or 'folder'}", features_builder(suffix), read_features)
            for suffix in FEATURE_FORMATS
        ),
        Kind("extractor .skops", build_extractor, read_extractor),
        Kind("probe .skops", build_probe, read_probe),
        Kind("fine-tuned folder", build_model, read_model),
        Kind("weights .pth", build_weights, read_weights),
        Kind("checkpoint", build_checkpoint, read_checkpoint),
        Kind("store, shards", build_store, read_store, spared=("index.sqlite",)),
        Kind("store, index", build_store, read_store, spared=(".joblib",)),
        *(
            Kind(f"manifest .{suffix}", manifest_builder(suffix), read_manifest)
            for suffix in MANIFEST_FORMATS
        ),
        Kind("results", build_results, read_results),
    ]


def image_builder(suffix: str) -> Callable[[Path, Sequence[Path]], object]:
    def build(folder: Path, images: Sequence[Path]) -> None:
        from PIL import Image

        with Image.open(images[0]) as image:
            image.convert("RGB").resize((40, 30)).save(folder / f"image.{suffix}")

    return build


def read_images(folder: Path, _: Sequence[Path]) -> str | None:
    """Every image has a row or a reason."""
    from featx import extract

    files = sorted(map(str, folder.iterdir()))
    found = extract(files, SPEC, store=None)
    accounted = sorted([*map(str, found.paths), *(path for path, _ in found.failures)])
    return None if accounted == files else "missing"


def features_builder(suffix: str) -> Callable[[Path, Sequence[Path]], object]:
    def build(folder: Path, images: Sequence[Path]) -> None:
        import numpy as np

        from featx import FeatureSet

        names = [image.name for image in images]
        X = np.arange(5.0 * len(names), dtype=np.float32).reshape(-1, 5)
        made = {"extractors": [{"name": "features", "fingerprint": "0" * 32}]}
        FeatureSet(X, names, labels=names, provenance=made).save(folder / f"output{suffix}")

    return build


def read_features(folder: Path, _: Sequence[Path]) -> None:
    from featx import FeatureSet

    found = FeatureSet.load(next(it for it in folder.iterdir() if it.suffix != ".json"))
    float(found.X.sum())  # Mapped values are read here.


def build_extractor(folder: Path, images: Sequence[Path]) -> None:
    from featx import BagOfVisualWords
    from featx.engine.persistence import save_extractor

    fitted = BagOfVisualWords("orb", n_words=4).fit(list(map(str, images)))
    save_extractor(fitted, folder / "words.skops")


def read_extractor(folder: Path, _: Sequence[Path]) -> None:
    from featx.engine.persistence import load_extractor

    load_extractor(folder / "words.skops")


def build_probe(folder: Path, images: Sequence[Path]) -> None:
    from sklearn.pipeline import make_pipeline

    from featx import ColorHistogram, LinearProbe
    from featx.engine.persistence import save_pipeline

    model = make_pipeline(ColorHistogram(n_bins=2), LinearProbe(C=1.0))
    model.fit(list(map(str, images)), ["a", "b", "a"])
    save_pipeline(model, folder / "probe.skops", classes=[LinearProbe])


def read_probe(folder: Path, images: Sequence[Path]) -> None:
    from featx import predict

    predict(str(folder / "probe.skops"), [str(images[0])], store=None)


def build_model(folder: Path, images: Sequence[Path]) -> None:
    from featx.finetuning.model_folder import save_folder

    save_folder(trained(images), folder / "model")


def trained(images: Sequence[Path], **parameters: Any) -> Any:
    from featx import FineTunedClassifier

    classifier = FineTunedClassifier(head_epochs=1, epochs=0, validation=0, **parameters)
    return classifier.fit(list(map(str, images)), ["a", "b", "a"])


def read_model(folder: Path, images: Sequence[Path]) -> None:
    from featx import predict

    predict(str(folder / "model"), [str(images[0])], store=None)


def build_weights(folder: Path, _: Sequence[Path]) -> None:
    import torch

    torch.save({"conv.weight": torch.zeros(3, 2), "conv.bias": torch.ones(3)}, folder / "w.pth")


def read_weights(folder: Path, _: Sequence[Path]) -> None:
    from featx.networks.weights import read_state

    for tensor in read_state(folder / "w.pth").values():
        float(tensor.sum())


def build_checkpoint(folder: Path, _: Sequence[Path]) -> None:
    from featx.finetuning.checkpoints import Checkpointer

    Checkpointer(folder, "key").write({"finished": {}, "history": [], "stage": "head"})


def read_checkpoint(folder: Path, _: Sequence[Path]) -> None:
    from featx.finetuning.checkpoints import Checkpointer

    Checkpointer(folder, "key")


def build_store(folder: Path, images: Sequence[Path]) -> None:
    stored_rows(folder, images)


def read_store(folder: Path, images: Sequence[Path]) -> str | None:
    """Whatever the store says, rows are those of a run without one."""
    from featx.store.feature_store import FeatureStore

    store = FeatureStore(folder / "store")
    store.ls()
    found = stored_rows(folder, images)
    store.verify()
    return None if found == stored_rows(None, images) else "wrong"


def stored_rows(folder: Path | None, images: Sequence[Path]) -> str:
    from featx import extract

    store = None if folder is None else folder / "store"
    return hashlib.sha256(
        extract(list(map(str, images)), SPEC, store=store).X.tobytes()
    ).hexdigest()


def manifest_builder(suffix: str) -> Callable[[Path, Sequence[Path]], object]:
    def build(folder: Path, images: Sequence[Path]) -> None:
        rows = {"path": list(map(str, images)), "label": ["a", "b", "a"]}
        file = folder / f"images.{suffix}"
        if suffix == "parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.table(rows), file)
            return
        delimiter = "," if suffix == "csv" else "\t"
        lines = [delimiter.join(row) for row in zip(*rows.values(), strict=True)]
        file.write_text("\n".join([delimiter.join(rows), *lines, ""]))

    return build


def read_manifest(folder: Path, _: Sequence[Path]) -> str | None:
    """Every image that the manifest names has a row or a reason."""
    from featx import extract, load_dataset

    file = next(folder.iterdir())
    data = load_dataset(str(file))
    found = extract(str(file), SPEC, store=None)
    return None if len(found.paths) + len(found.failures) == len(data.names) else "missing"


def build_results(folder: Path, images: Sequence[Path]) -> None:
    from featx import compare
    from featx.report.writing import write_report

    classes = folder / "classes"
    for index, image in enumerate([*images] * 4):
        place = classes / "ab"[index % 2] / f"{index}{image.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, place)
    write_report([compare(str(classes), [SPEC], store=None)], folder / "report")
    shutil.rmtree(classes)
    for name in os.listdir(folder / "report"):
        if name not in ("results.json", "thumbnails.json"):
            place = folder / "report" / name
            shutil.rmtree(place) if place.is_dir() else place.unlink()


def read_results(folder: Path, _: Sequence[Path]) -> None:
    from featx.report import writing

    writing.read_results([folder / "report"])
