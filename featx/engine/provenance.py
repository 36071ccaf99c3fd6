"""Where numbers come from: what stands in every result."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy.typing as npt

import featx
from featx._files import to_plain
from featx._fingerprints import fingerprint
from featx.data.image_dataset import ImageDataset
from featx.data.reading import Reading
from featx.engine.jobs import Job
from featx.engine.specs import spec_of
from featx.store.shards import PRODUCERS
from featx.streaming.chunks import row_settings


def provenance_of(jobs: list[Job], dataset: ImageDataset, learned_on: str | None) -> dict[str, Any]:
    """What made a result: extractors, data, versions, command.

    Parameters
    ----------
    jobs : list of Job
    dataset : ImageDataset
        The images, and how they are read.
    learned_on : str or None
        ``train`` or ``all``, where an extractor learned from images.

    Returns
    -------
    dict
        Plain values only, as JSON has them.
    """
    reading = dataset.images.reading
    return {
        "featx": featx.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv if sys.argv and sys.argv[0].endswith("featx") else None,
        "data": dataset.source,
        "n_ignored": dataset.n_ignored,
        "extractors": [entry for job in jobs for entry in _entries(job, reading)],
        "learned_on": learned_on,
        "reading": to_plain(reading.settings())
        | ({"measured": reading.measured} if reading.measured else {}),
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "platform": platform.platform(),
    }


def _entries(job: Job, reading: Reading) -> Iterable[dict[str, Any]]:
    for layer, name in job.names.items():
        settings = row_settings(job.extractor, layer, reading)
        yield {
            "name": name,
            "spec": spec_of(job.extractor) if layer == "" else name,
            "fingerprint": fingerprint(settings),
            "settings_fingerprint": fingerprint({**settings, "state": None}),
            "settings": to_plain(settings, array=_array_digest),
        }


def _array_digest(array: npt.NDArray[Any]) -> str:
    return f"array {array.shape} {fingerprint(array)}"


def _versions() -> Iterable[tuple[str, str]]:
    for package in PRODUCERS.values():
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
