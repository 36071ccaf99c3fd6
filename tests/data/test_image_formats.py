"""The closed table of image formats: what is in it is read, and what runs a program never is."""

from __future__ import annotations

import io
import os
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import EpsImagePlugin, Image, ImageFile, UnidentifiedImageError, WmfImagePlugin, features

from featx.data import image_formats
from featx.data.datasets import load_dataset
from featx.data.image_formats import _IMAGE_FORMATS, IMAGE_SUFFIXES, open_image
from featx.data.images import Images, decode
from featx.errors import ImageError

PAGE = (Path(__file__).parents[2] / "docs/commands.md").read_text("utf-8")

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
    b"newpath 0 0 moveto 8 8 lineto stroke\nshowpage\n%%EOF\n"
)
WMF = (
    b"\xd7\xcd\xc6\x9a\0\0" + b"\0\0\0\0\x40\0\x40\0" + b"\x60\0" + bytes(6)
    + b"\x01\0\x09\0\0\x03" + bytes(14)
)  # fmt: skip
INTERPRETED = {
    "eps": EPS,
    "eps in a preview": struct.pack("<4sII20x", b"\xc5\xd0\xd3\xc6", 32, len(EPS)) + EPS,
    "ps": EPS.replace(b" EPSF-3.0", b""),
    "pdf": b"%PDF-1.4\n1 0 obj <</Type /Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n",
    "wmf": WMF,
    "emf": b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(100),
}  # fmt: skip


@pytest.fixture
def sentinel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """File that is there once Ghostscript or Pillow's handler of WMF has run."""
    sentinel = tmp_path / "ran"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {sentinel}\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    WmfImagePlugin.register_handler(_Handler(sentinel))
    yield sentinel
    WmfImagePlugin.register_handler(None)


class _Handler(ImageFile.StubHandler):
    """What a program may register with Pillow to draw a WMF file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def open(self, image: Any) -> None:
        self.sentinel.touch()

    def load(self, image: Any) -> Image.Image:
        self.sentinel.touch()
        return Image.new("RGB", (1, 1))


@pytest.mark.skipif(os.name == "nt", reason="the program in the test is a shell script")
@pytest.mark.parametrize("kind", ["eps", "eps in a preview", "ps", "wmf"])
def test_pillow_alone_runs_the_sentinel(sentinel: Path, kind: str) -> None:
    with suppress(OSError):  # The program draws nothing.
        Image.open(io.BytesIO(INTERPRETED[kind])).load()
    assert sentinel.exists()


@pytest.mark.parametrize("kind", INTERPRETED)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".eps", ""])
def test_what_is_interpreted_is_refused_and_runs_nothing(
    tmp_path: Path, sentinel: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / f"image{suffix}"
    path.write_bytes(INTERPRETED[kind])
    with pytest.raises(ImageError, match=r"not an image in a supported format \(JPEG, PNG, .*"):
        Images([path]).read(0)
    assert not sentinel.exists()


def test_torchvisions_folder_runs_nothing_either(tmp_path: Path, sentinel: Path) -> None:
    (tmp_path / "data" / "ant").mkdir(parents=True)
    (tmp_path / "data" / "ant" / "0.jpg").write_bytes(EPS)
    dataset = load_dataset(f"torchvision:ImageFolder,root={tmp_path / 'data'}")
    with pytest.raises(ImageError, match="not an image in a supported format"):
        dataset.images.pixels(0)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "name", [it.name for it in _IMAGE_FORMATS if it.is_pillow and it.name not in ("DIB", "HEIF")]
)
def test_every_format_is_read(name: str) -> None:
    feature = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(name)
    if feature and not features.check(feature):
        pytest.skip(f"this Pillow has no {name}")
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 100, 50)).save(file, name)
    assert abs(decode(file.getvalue()).astype(int) - (200, 100, 50)).max() < 30


def test_heif_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    image_formats._register_extras.cache_clear()
    with pytest.raises(ImageError, match=r"HEIF .*pip install 'featx\[heif\]"):
        decode(b"\0\0\0\x18ftypheic" + bytes(100))
    image_formats._register_extras.cache_clear()


def test_a_format_outside_the_table_is_not_read() -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "TGA")
    with pytest.raises(UnidentifiedImageError, match=r"JPEG, PNG, .*HEIF"):
        open_image(file.getvalue())


def test_no_suffix_means_two_formats() -> None:
    assert len(IMAGE_SUFFIXES) == sum(len(it.suffixes) for it in _IMAGE_FORMATS)


def test_the_readme_lists_the_table() -> None:
    [paragraph] = re.findall(r"Image formats: (.*?)\n\n", PAGE, re.DOTALL)
    listed = re.findall(r"(\w+) \((\.[^)]*)\)", " ".join(paragraph.split()))
    assert listed == [(it.name, " ".join(it.suffixes)) for it in _IMAGE_FORMATS]
