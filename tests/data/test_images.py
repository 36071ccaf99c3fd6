from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from skimage.color import rgb2gray

from featx._fingerprints import digest_bytes
from featx.data.images import (
    Images,
    Pixels,
    decode,
    gray,
    printable,
    resize,
    round_pixels,
    size_pair,
)
from featx.errors import ImageError, ValueRangeWarning


@pytest.fixture
def colors() -> Pixels:
    """Image of 6 x 8 px without any symmetry."""
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# --- formats -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_very_pixels(colors: Pixels, kind: str) -> None:
    assert (decode(encoded(Image.fromarray(colors), kind)) == colors).all()


def test_lossless_webp_gives_the_very_pixels(colors: Pixels) -> None:
    assert (decode(encoded(Image.fromarray(colors), "WEBP", lossless=True)) == colors).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_give_pillows_pixels(photos: list[str], kind: str) -> None:
    data = encoded(Image.open(photos[0]), kind)
    assert (decode(data) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()


def test_photographs_are_decoded_as_pillow_decodes_them(photos: list[str]) -> None:
    for path in photos:
        with Image.open(path) as image:
            assert (decode(path) == np.asarray(ImageOps.exif_transpose(image))).all()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_counts(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode(data, pages="first")[0, 0].tolist() == [255, 0, 0]


# --- modes ---------------------------------------------------------------------------------


def test_gray_is_repeated(colors: Pixels) -> None:
    pixels = decode(encoded(Image.fromarray(colors[:, :, 0]), "PNG"))
    assert (pixels == colors[:, :, :1]).all()


def test_one_bit_is_black_and_white() -> None:
    bits = np.array([[True, False]])
    assert decode(encoded(Image.fromarray(bits), "PNG"))[0, :, 0].tolist() == [255, 0]


def test_a_palette_gives_its_colors() -> None:
    image = Image.new("RGB", (2, 1), (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert decode(encoded(image, "PNG"))[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_white(kind: str) -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(pixels), kind, **options)
    assert decode(data)[0].tolist() == [[255, 0, 0], [255, 255, 255], [204, 204, 204]]


def test_alpha_of_arrays_is_composited_on_white() -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0]]], np.uint8)
    assert decode(pixels)[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_gray_with_alpha_is_composited_on_white() -> None:
    image = Image.fromarray(np.array([[[0, 255], [0, 0], [100, 0]]], np.uint8), "LA")
    assert decode(encoded(image, "PNG"))[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_color_of_a_palette_is_white(kind: str) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    data = encoded(image, kind, transparency=1)
    assert decode(data)[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_a_transparent_color_of_rgb_is_white() -> None:
    image = Image.fromarray(np.array([[[9, 9, 9], [1, 2, 3]]], np.uint8))
    data = encoded(image, "PNG", transparency=(9, 9, 9))
    assert decode(data)[0].tolist() == [[255, 255, 255], [1, 2, 3]]


def test_a_transparent_gray_is_white() -> None:
    data = encoded(Image.fromarray(np.array([[9, 1]], np.uint8)), "PNG", transparency=9)
    assert decode(data)[0, :, 0].tolist() == [255, 1]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_has_the_right_way_round(kind: str) -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(decode(encoded(red, kind)) - np.array([255.0, 0, 0])).max() <= 8


def test_cmyk_that_adobe_wrote_inverted_has_the_right_way_round() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    assert b"Adobe" in data  # Pillow writes what Photoshop writes: inverted, with a marker.
    assert decode(data)[0, 0, 0] > 240


def test_lab_is_brought_to_rgb() -> None:
    lab = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(
        Image.new("RGB", (2, 2), "red"), lab[1], lab[0], outputMode="LAB"
    )
    pixels = decode(encoded(image, "TIFF"))
    assert pixels[0, 0, 0] > 200


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eights_range(kind: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    assert decode(encoded(Image.fromarray(values), kind))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_sixteen_bits_of_other_byte_order_are_scaled_too() -> None:
    values = np.array([[0, 257, 65535]], ">u2")
    image = Image.frombytes("I;16B", (3, 1), values.tobytes())
    assert decode(image)[0, :, 0].tolist() == [0, 1, 255]


def test_float_tiff_from_zero_to_one() -> None:
    values = np.array([[0, 0.5, 1]], np.float32)
    assert decode(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 127.5, 255]


def test_float_tiff_with_nan_is_refused() -> None:
    values = np.array([[0, np.nan]], np.float32)
    with pytest.raises(ImageError, match="NaN"):
        decode(encoded(Image.fromarray(values), "TIFF"))


# --- EXIF ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright(colors: Pixels, orientation: int, kind: str) -> None:
    turns: dict[int, Callable[[Any], Any]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode(encoded(Image.fromarray(colors), kind, exif=exif, **options))
    assert (pixels == turns[orientation](colors)).all()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_leaves_the_image(colors: Pixels, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode(encoded(Image.fromarray(colors), "PNG", exif=exif)) == colors).all()


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08",
    ],
)
def test_broken_exif_leaves_the_image(photos: list[str], exif: bytes) -> None:
    with Image.open(photos[0]) as image:
        whole = decode(encoded(image, "JPEG"))
        assert (decode(encoded(image, "JPEG", exif=exif)) == whole).all()


# --- what is no image --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "not an image"),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"GIF89a", None),
        (b"\xff\xd8\xff\xe0", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    ],
)
def test_what_is_no_image_is_named_with_the_reason(
    tmp_path: Path, content: bytes, reason: str | None
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason) as caught:
        decode(path)
    assert caught.value.name == str(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_images_are_refused(photos: list[str], kind: str, share: float) -> None:
    data = encoded(Image.open(photos[0]), kind)
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)])


def test_a_png_with_a_flipped_byte_is_refused(photos: list[str]) -> None:
    data = bytearray(encoded(Image.open(photos[0]), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError):
        decode(bytes(data))


def test_garbage_never_ends_in_another_error() -> None:
    random = np.random.default_rng(0)
    heads = [
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"\xff\xd8\xff",
        b"BM",
        b"II*\0",
        b"II+\0\x08\0\0\0",
        b"RIFF",
        b"\x93NUMPY\x01\0",
        b"P5 99 99 4095\n",
        b"\xff\x0a",
        b"\xff\x4f\xff\x51",
        b"\0\0\0\x18ftypavif",
        b"\0\0\0\x18ftypheic",
        bytes(128) + b"DICM",
    ]
    for head in heads:
        for length in (4, 40, 400):
            with pytest.raises(ImageError):
                decode(head + random.bytes(length))


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"is a directory"):
        decode(tmp_path)
    with pytest.raises(ImageError, match=r"no\.png: no such file"):
        decode(tmp_path / "no.png")
    with pytest.raises(ImageError, match="null"):
        decode("a\0b.png")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every file can be read")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(ImageError, match="permission denied"):
        decode(path)


@pytest.mark.parametrize("image", [3, None, [[1, 2]], object()])
def test_what_cannot_be_an_image_is_refused(image: Any) -> None:
    with pytest.raises(ImageError, match="expected a path, bytes, PIL image or array; got"):
        decode(image)


# --- decompression bombs -------------------------------------------------------------------


def test_an_image_over_the_limit_is_refused_before_it_is_decoded() -> None:
    data = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(ImageError, match=r"20000x20000 px is over max_pixels=.*raise max_pixels"):
        decode(data)


def test_the_limit_can_be_raised_and_lowered() -> None:
    data = encoded(Image.new("L", (10, 10)), "PNG")
    assert decode(data, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(ImageError, match="max_pixels=99"):
        decode(data, max_pixels=99)


def test_a_limit_above_pillows_own_holds() -> None:
    side = 14_000  # 196 million pixels: Pillow refuses from 179 million on.
    data = encoded(Image.new("1", (side, side)), "PNG")
    assert decode(data, max_pixels=side**2).shape == (side, side, 3)


def test_the_limit_holds_for_pil_images_too() -> None:
    with pytest.raises(ImageError, match="max_pixels=99"):
        decode(Image.new("L", (10, 10)), max_pixels=99)


def test_pillows_own_limit_is_as_before() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode(encoded(Image.new("L", (10, 10)), "PNG"))
    assert before == Image.MAX_IMAGE_PIXELS


def test_no_warning_leaks() -> None:
    data = encoded(Image.new("1", (9_500, 9_500)), "PNG")  # Pillow warns from 89 million on.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(data, max_pixels=10**9).shape == (9_500, 9_500, 3)


# --- one image, whatever it comes as -----------------------------------------------------


def test_paths_bytes_pil_images_and_arrays_agree(photos: list[str]) -> None:
    for path in photos:
        expected = decode(path)
        with Image.open(path) as image:
            for form in (Path(path), Path(path).read_bytes(), image, expected):
                assert (decode(form) == expected).all()


def test_a_pil_image_is_neither_changed_nor_closed(photos: list[str]) -> None:
    with Image.open(photos[0]) as image:
        first = decode(image)
        image.load()
        assert (decode(image) == first).all()
        assert image.getpixel((0, 0)) == tuple(first[0, 0])


def test_an_open_file_of_several_frames_stays_at_its_frame() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    with Image.open(
        io.BytesIO(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    ) as image:
        image.seek(1)
        assert decode(image)[0, 0].tolist() == [0, 0, 255]
        assert image.tell() == 1


def test_arrays_are_not_changed(colors: Pixels) -> None:
    copy = colors.copy()
    colors.flags.writeable = False
    for image in (colors, colors[::-1], colors[:, :, 0], colors / 255):
        decode(image)
    assert (colors == copy).all()


@pytest.mark.filterwarnings("ignore::featx.errors.ValueRangeWarning")
@pytest.mark.parametrize(
    ("array", "value"),
    [
        (np.full((2, 2), True), 255),
        (np.full((2, 2), 0.5), 127.5),
        (np.full((2, 2), 0.5, np.float16), 127.5),
        (np.full((2, 2), 200, np.int64), 200),
        (np.full((2, 2), 300, np.int32), 255),
        (np.full((2, 2), -3, np.int8), 0),
        (np.full((2, 2), 2.0), 255),
        (np.full((2, 2, 1), 7, np.uint8), 7),
    ],
)
def test_numbers_of_every_type_are_read(array: Any, value: float) -> None:
    assert (decode(array) == value).all()


def test_the_range_of_values_can_be_told() -> None:
    assert decode(np.array([[0.0, 8, 16]]), value_range=(0, 16))[0, :, 0].tolist() == [
        0,
        127.5,
        255,
    ]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(4), "shape"),
        (np.zeros((2, 2, 2)), "2 bands: select one or three"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
        (np.full((2, 2), np.nan), "NaN"),
        (np.full((2, 2), np.inf), "infinity"),
        (np.full((2, 2), 1j), "numbers"),
        (np.full((2, 2), "a"), "numbers"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(array)


def test_names_that_are_no_utf8_are_read_and_printable(tmp_path: Path, colors: Pixels) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    try:
        Path(os.fsdecode(path)).write_bytes(encoded(Image.fromarray(colors), "PNG"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    images = Images([os.fsdecode(path)])
    assert (images.pixels(0) == colors).all()
    assert images.names[0].endswith(r"caf\xe9.png")
    images.names[0].encode()


@pytest.mark.parametrize("name", ["ameise 蟻.png", "پروانه.png", "a.1.png", "-", "a b'c\".png"])
def test_names_in_any_script_are_read(tmp_path: Path, colors: Pixels, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(Image.fromarray(colors), "PNG"))
    assert (decode(tmp_path / name) == colors).all()
    assert printable(name) == name


def test_threads_decode_the_same_pixels(photos: list[str]) -> None:
    expected = [decode(path) for path in photos]
    with ThreadPoolExecutor(8) as pool:
        for pixels, once in zip(pool.map(decode, photos * 10), expected * 10, strict=True):
            assert (pixels == once).all()


def test_threads_decode_one_pil_image(photos: list[str]) -> None:
    expected = decode(photos[0])
    for _ in range(5):
        with Image.open(photos[0]) as image, ThreadPoolExecutor(8) as pool:
            assert all((pixels == expected).all() for pixels in pool.map(decode, [image] * 16))


# --- sequences of images -----------------------------------------------------------------


def test_images_are_named_by_path_or_place(photos: list[str]) -> None:
    images = Images([photos[0], Path(photos[1]), Path(photos[2]).read_bytes()])
    assert list(images.names) == [photos[0], photos[1], "image 2"]
    assert [images.path(i) for i in range(3)] == [photos[0], photos[1], None]


def test_taken_images_keep_their_names(colors: Pixels) -> None:
    images = Images([colors, colors[::-1], colors[:, ::-1]])
    taken = images.take([2, 0])
    assert list(taken.names) == ["image 2", "image 0"]
    assert (taken.pixels(0) == colors[:, ::-1]).all()
    assert list(images[1:].names) == ["image 1", "image 2"]


def test_digests_are_of_bytes_and_the_same_for_files(photos: list[str]) -> None:
    data = Path(photos[0]).read_bytes()
    images = Images([photos[0], data])
    assert images.digest(0) == images.digest(1) == images.read(0)[0] == digest_bytes(data)


def test_digests_of_arrays_follow_their_pixels(colors: Pixels) -> None:
    images = Images([colors, colors.astype(np.int64), colors[::-1]])
    assert images.digest(0) == images.digest(1) == images.read(0)[0]
    assert images.digest(0) != images.digest(2)


@pytest.mark.parametrize("X", ["a.png", b"abc", Path("a.png")])
def test_one_image_is_no_sequence(X: Any) -> None:
    with pytest.raises(ValueError, match="put it in a list"):
        Images(X)


def test_rows_are_read_through_a_shape(colors: Pixels) -> None:
    images = Images(colors.reshape(1, -1), image_shape=(6, 8, 3))
    assert (images.pixels(0) == colors).all()
    with pytest.raises(ValueError, match="image_shape"):
        Images(colors.reshape(1, -1), image_shape=(6, 9, 3))


# --- sizes and gray ------------------------------------------------------------------------


def test_resize_keeps_what_has_the_size_and_is_exact_on_halves(colors: Pixels) -> None:
    assert resize(colors, (6, 8)) is colors
    twice = np.repeat(np.repeat(colors, 2, 0), 2, 1)
    assert (resize(twice, (6, 8)) == colors).all()


def test_gray_equals_skimages_luminance(photos: list[str]) -> None:
    pixels = decode(photos[0])
    np.testing.assert_allclose(gray(pixels), 255 * rgb2gray(pixels), rtol=0, atol=1e-9)


def test_equal_channels_are_their_gray_exactly() -> None:
    grays = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    assert (gray(grays)[0] == np.arange(256)).all()


@pytest.mark.parametrize("image_size", [0, -1, (3,), (3, 0), (3, 3, 3), (2.5, 3), "ab"])
def test_an_impossible_size_is_refused(image_size: Any) -> None:
    with pytest.raises(ValueError, match="image_size must be a number of pixels or"):
        size_pair(image_size)


def test_a_photograph_with_broken_exif_warns_nobody(tmp_path: Path, photos: list[str]) -> None:
    path = tmp_path / "a.jpg"
    with Image.open(photos[0]) as image:
        path.write_bytes(encoded(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
    code = "import sys, featx.data.images; featx.data.images.decode(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stderr == ""


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_pipes_and_devices_are_refused_unread(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.png")
    with pytest.raises(ImageError, match="pipe or device"):
        decode(tmp_path / "a.png")


def test_a_sparse_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    with file.open("wb") as sparse:
        sparse.truncate(200 * 10**9)
    with pytest.raises(ImageError, match=r"has 200,000,000,000 bytes; expected at most"):
        Images([file]).digest(0)


def test_a_file_that_does_not_know_its_size_is_read_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.data.images._MAX_FILE_BYTES", 10)
    link = tmp_path / "x.jpg"
    link.symlink_to("/proc/self/status")
    with pytest.raises(ImageError, match="has 11 bytes; expected at most 10"):
        Images([link]).digest(0)


def test_a_file_that_has_content_only_once_something_happens_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.jpg"
    os.mkfifo(file)  # As /proc/kmsg, but that one says that it is a file.
    monkeypatch.setattr("featx.data.images.stat.S_ISREG", lambda mode: True)
    reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(file, os.O_WRONLY)
    with pytest.raises(ImageError, match="has no content yet"):
        Images([file]).digest(0)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("target", ["/dev/zero", "fifo"])
def test_a_link_to_a_device_or_pipe_is_refused_at_once(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    link = tmp_path / "x.jpg"
    link.symlink_to(target if target.startswith("/") else tmp_path / target)
    with pytest.raises(ImageError, match="is a pipe or device"):
        Images([link]).digest(0)


def test_16_bit_arrays_are_as_files_of_16_bits_are(tmp_path: Path) -> None:
    values = np.tile(np.arange(256, dtype=np.uint16) * 257, (4, 1))
    Image.fromarray(values).save(tmp_path / "a.png")

    assert np.array_equal(decode(values), decode(tmp_path / "a.png"))
    assert len(np.unique(decode(values))) == 256


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0.0, 16.0]]),
        np.array([[-0.5, 0.5]], np.float32),
        np.array([[0, 4095]], np.int32),
        np.array([[-1, 4]], np.int16),
    ],
)
def test_values_outside_the_range_are_warned_of(values: np.ndarray) -> None:
    with pytest.warns(ValueRangeWarning, match=r"Set the values of black and white by value_range"):
        decode(values)
    decode(values, value_range=(float(values.min()), float(values.max())))


def test_values_within_the_range_of_their_type_give_no_warning() -> None:
    for values in (np.array([[0, 255]]), np.array([[0.0, 1.0]]), np.array([[True, False]])):
        assert decode(values).max() == 255


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_image_of_which_one_side_grows_does_not_alias(dtype: Any) -> None:
    stripes = np.zeros((100, 800, 3), dtype)
    stripes[:, ::2] = 254
    resized = resize(stripes, (128, 128))
    assert resized.shape == (128, 128, 3)
    assert np.abs(resized.astype(float) - 127).max() <= 6  # It is 6.25 stripes to a pixel.


@pytest.mark.parametrize("n_bands", [1, 3, 5, 12])
def test_any_number_of_bands_is_resized(n_bands: int) -> None:
    pixels = np.random.default_rng(0).random((12, 18, n_bands)).astype(np.float32)
    resized = resize(pixels, (6, 24))
    alone = [resize(np.ascontiguousarray(pixels[:, :, b]), (6, 24)) for b in range(n_bands)]
    np.testing.assert_allclose(resized.reshape(6, 24, n_bands), np.stack(alone, 2), atol=1e-6)


def test_gray_of_deep_pixels_is_skimages(photos: list[str]) -> None:
    pixels = decode(photos[0]).astype(np.float32) * np.float32(0.777)
    np.testing.assert_allclose(gray(pixels), 255 * rgb2gray(pixels / 255), rtol=1e-5)
    flat = np.full((1, 1, 3), 0.1, np.float32)
    assert gray(flat)[0, 0] == flat[0, 0, 0]


def test_rounding_is_to_the_nearest_of_8_bits(colors: Pixels) -> None:
    assert round_pixels(colors) is colors
    assert round_pixels(np.array([[-1, 0.6, 254.6, 300]])).tolist() == [[0, 1, 255, 255]]


def test_a_jpeg_is_read_in_the_range_asked_for(photos: list[str]) -> None:
    plain = decode(photos[0])
    assert (decode(photos[0], value_range="dtype") == plain).all()
    half = decode(photos[0], value_range=(0, 510))
    np.testing.assert_allclose(half, plain / np.float32(2), atol=1e-4)


def test_a_gray_image_has_one_band_and_a_color_image_three(colors: Pixels) -> None:
    for values, n_bands in ((colors, 3), (colors[:, :, 0], 1)):
        data = encoded(Image.fromarray(values), "PNG")
        assert Images([data], bands="each").count_bands() == n_bands
        assert Images([values], bands="each").count_bands() == n_bands
    assert Images([colors]).count_bands() == 1


def test_frames_of_a_gif_are_joined_where_that_is_asked_for() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (0, 100, 250)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data)[0, 0, 0] == 0
    assert decode(data, pages="max")[0, 0, 0] == 250
    assert decode(data, pages="mean")[0, 0, 0] == pytest.approx(350 / 3, abs=1e-3)


def test_what_is_read_keeps_its_reading_and_says_a_thing_once() -> None:
    images = Images(np.full((3, 4, 4), 4000, np.uint16), value_range=(0, 8000))
    assert Images(images).take([1]).pixels(0).max() == 127.5
    values = np.tile(np.arange(4, dtype=np.uint16) * 1000, (3, 4, 1))
    images = Images(values)
    with pytest.warns(ValueRangeWarning, match="image 2"):
        images.take([2]).pixels(0)
    images.pixels(0)  # A second warning would be an error here.


def test_frames_count_against_the_limit_and_an_open_image_stays_at_its_frame() -> None:
    frames = [Image.new("L", (10, 10), value) for value in (0, 100, 250)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="max_pixels=299"):
        decode(data, pages="max", max_pixels=299)
    with Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        assert decode(image, pages="max", max_pixels=300).max() == 250
        assert image.tell() == 1
