"""The same images from each kind of source: the same rows, one store, and a second run of none.

    python scripts/check_sources.py FOLDER [--images 1000] [-e hog,image_size=64]

Images of the folder, which has a folder for each class, are packed as ten tars, a zip, one
parquet file and a folder of `datasets`, and served by a real S3 server (moto) and a web server.
Each source is run into a store of its own, which must come to the rows of the folder, and again,
which must compute nothing; then all are run into one store, where the first alone computes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np
from image_server import ImageServer

from featx import extract, load_dataset
from featx.streaming.progress import ProgressCallback

N_TARS = 10
BUCKET = "photos"


class Run(NamedTuple):
    """One source in three runs: how many images were computed, and whether rows are the same."""

    source: str
    n_images: int
    n_first: int
    n_second: int
    n_joint: int
    is_same: bool
    seconds: float


class _Counter(ProgressCallback):
    def __init__(self) -> None:
        self.n_computed = 0

    def plan(self, n_images: int, n_cached: int) -> None:
        self.n_computed += n_images - n_cached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("-e", "--extractor", action="append")
    arguments = parser.parse_args()
    specs = arguments.extractor or ["color", "hog,image_size=64"]
    with tempfile.TemporaryDirectory() as work:
        runs = check_sources(arguments.folder, arguments.images, specs, Path(work))
    print(
        f"{'source':10} {'images':>6} {'computed':>8} {'again':>6} {'joint':>6}  same rows      s"
    )
    for run in runs:
        print(
            f"{run.source:10} {run.n_images:6} {run.n_first:8} {run.n_second:6} {run.n_joint:6}  "
            f"{'yes' if run.is_same else 'NO':9} {run.seconds:6.1f}"
        )
    return 0 if all(is_good(run, runs[0]) for run in runs) else 1


def is_good(run: Run, first: Run) -> bool:
    """Whether a source gave what the folder, the first, gave, and computed nothing twice."""
    n_joint = run.n_first if run is first else 0
    return (
        run.is_same
        and run.n_images == first.n_images
        and (run.n_first, run.n_second, run.n_joint) == (first.n_first, 0, n_joint)
    )


def check_sources(folder: Path, n_images: int, specs: Sequence[str], work: Path) -> list[Run]:
    """Run each source of the same images; see this script's first lines."""
    photos = copy_images(folder, n_images, work / "photos")
    sources = {"folder": str(photos)} | pack(photos, work)
    with serve_s3(work) as s3, ImageServer(work) as web:
        upload(photos, s3)
        sources |= {"s3": f"s3://{BUCKET}/photos", "http": f"{web.url}/photos/"}
        runs: list[Run] = []
        expected: dict[tuple[str, bytes], bytes] = {}
        for name, source in sources.items():
            runs.append(run_source(name, source, specs, work, expected))
    return runs


def run_source(
    name: str,
    source: str,
    specs: Sequence[str],
    work: Path,
    expected: dict[tuple[str, bytes], bytes],
) -> Run:
    """Three runs of a source; `expected` takes the rows of the first one."""
    begin = time.perf_counter()
    own, joint = work / "stores" / name, work / "stores" / "all"
    rows, n_first = extract_rows(source, specs, own)
    again, n_second = extract_rows(source, specs, own)
    third, n_joint = extract_rows(source, specs, joint)
    expected.update({} if expected else rows)
    is_same = rows == again == third == expected
    seconds = time.perf_counter() - begin
    return Run(name, len(load_dataset(source)), n_first, n_second, n_joint, is_same, seconds)


def extract_rows(
    source: str, specs: Sequence[str], store: Path
) -> tuple[dict[tuple[str, bytes], bytes], int]:
    """Class and file name of each image -> its row; and how many images were computed."""
    counter = _Counter()
    features = extract(source, list(specs), store=store, progress=counter)
    if features.failures:
        raise SystemExit(f"{source}: {features.failures[0]}")
    assert features.labels is not None
    names = [str(path).rpartition("/")[2] for path in features.paths]
    rows = np.ascontiguousarray(features.X)
    keys = zip(features.labels.tolist(), names)
    return {(label, name.encode()): row.tobytes() for (label, name), row in zip(keys, rows)}, (
        counter.n_computed
    )


def copy_images(folder: Path, n_images: int, target: Path) -> Path:
    """Images of a folder, as many of each class, under names that occur once; all different."""
    classes = sorted(it for it in folder.iterdir() if it.is_dir())
    queues = [sorted(it for it in place.iterdir() if it.is_file()) for place in classes]
    chosen: dict[bytes, Path] = {}
    for row in range(max(map(len, queues))):
        for queue in queues:
            if row < len(queue) and len(chosen) < n_images:
                chosen.setdefault(queue[row].read_bytes(), queue[row])
    for i, path in enumerate(sorted(chosen.values())):
        place = target / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"{i:06d}{path.suffix.lower()}")
    return target


def pack(photos: Path, work: Path) -> dict[str, str]:
    """The images in archives and tables: what each is called, and where it is."""
    import datasets
    import pyarrow as pa
    from pyarrow import parquet

    paths = sorted(it for it in photos.rglob("*") if it.is_file())
    for i in range(N_TARS):
        with tarfile.open(work / f"{i:02d}.tar", "w") as tar:
            for path in paths[i::N_TARS]:
                tar.add(path, path.relative_to(photos).as_posix())
    with zipfile.ZipFile(work / "photos.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.relative_to(photos).as_posix())
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    labels = [path.parent.name for path in paths]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(images, kind), "label": labels})
    parquet.write_table(table, work / "photos.parquet", row_group_size=100)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    saved = datasets.Dataset.from_dict({"image": images, "label": labels}, features)
    saved.save_to_disk(work / "saved")
    return {
        "ten tars": str(work / "{00..09}.tar"),
        "zip": str(work / "photos.zip"),
        "parquet": str(work / "photos.parquet"),
        "datasets": str(work / "saved"),
    }


@contextmanager
def serve_s3(work: Path) -> Iterator[str]:
    """Address of an S3 server, which the environment then names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p"]
    with (work / "moto.log").open("w") as log:
        server = subprocess.Popen([*command, str(port)], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        wait_for(f"{address}/moto-api/")
        yield address
    finally:
        os.environ.clear()
        os.environ |= before
        server.terminate()
        server.wait(10)


def wait_for(url: str, limit_s: float = 60) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + limit_s
    while True:
        try:
            urlopen(url, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def upload(photos: Path, address: str) -> None:
    """Put the images into a bucket."""
    import botocore.session

    client = botocore.session.get_session().create_client("s3", endpoint_url=address)
    client.create_bucket(Bucket=BUCKET)
    for path in sorted(it for it in photos.rglob("*") if it.is_file()):
        key = path.relative_to(photos.parent).as_posix()
        client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


if __name__ == "__main__":
    raise SystemExit(main())
