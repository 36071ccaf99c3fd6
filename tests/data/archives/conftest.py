from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def png(value: int) -> bytes:
    """A small image, of one gray and a corner of another."""
    pixels = np.full((24, 32, 3), value, np.uint8)
    pixels[:8, :8] = 255 - value
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def image() -> Callable[[int], bytes]:
    return png


@pytest.fixture
def make_tar(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, members: Mapping[str, bytes]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return make
