"""Draw images of ten kinds of objects: data to try featx on without a network or a download."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

_SIDE_PX = 128
_CANVAS_PX = 2 * _SIDE_PX  # Drawn at twice the size and reduced, for smooth edges.
_N_TONES = 3
_HOLE = 0
_N_BEHIND, _N_IN_FRONT = 8, 3

_RNG: TypeAlias = np.random.Generator
_Pixels: TypeAlias = npt.NDArray[np.float32]
_Points: TypeAlias = npt.NDArray[np.float64]
_Parts: TypeAlias = list[tuple[_Points, int]]
"""Outlines from -1 to 1, y downwards, each with a tone from 1 to `_N_TONES`, or `_HOLE`."""


@cache
def draw_objects(n_per_class: int = 50) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]:
    """Images of ten kinds of objects, and their classes.

    The classes differ in shape alone: colors, textures, poses, light, backgrounds and the
    fragments of objects behind and in front of each object have the same distribution in all
    classes.

    Parameters
    ----------
    n_per_class : int, default=50

    Returns
    -------
    images : ndarray of uint8, shape (10 * n_per_class, 128, 128, 3)
        In sRGB, 0 to 255. Read-only, as every call returns the same array.
    labels : ndarray of str, shape (10 * n_per_class,)

    Notes
    -----
    An image depends on its class and number alone: the classes of a larger set begin with the
    images of a smaller one.

    Examples
    --------
    >>> images, labels = draw_objects(1)
    >>> images.shape, labels[:3].tolist()
    ((10, 128, 128, 3), ['butterfly', 'carrot', 'chair'])
    """
    images = np.stack([_draw(name, i) for name in _OUTLINES for i in range(n_per_class)])
    images.flags.writeable = False
    return images, np.repeat(list(_OUTLINES), n_per_class)


def _draw(name: str, number: int) -> npt.NDArray[np.uint8]:
    """Image `number` of a class: fragments, the object, more fragments, then light and noise."""
    rng = np.random.default_rng([list(_OUTLINES).index(name), number])
    tones = Image.new("L", (_CANVAS_PX, _CANVAS_PX))  # Tone 0 is the background.
    _fill(tones, [(_fragment(rng), 1 + i) for i in range(_N_BEHIND)])
    object_tones = _N_BEHIND + 1 + rng.permutation(_N_TONES)
    own = Image.new("L", tones.size)
    pose = _pose(rng, size=(0.5, 0.85), turn=0.5, shift=0.2)
    _fill(own, [(p @ pose[:2] + pose[2], int(object_tones[t - 1]) if t else 0)
                for p, t in _OUTLINES[name](rng)])  # fmt: skip
    mask = own.point(lambda tone: 255 * (tone > 0))
    tones.paste(own, mask=mask)
    first = _N_BEHIND + _N_TONES + 1
    _fill(tones, [(_fragment(rng), first + i) for i in range(_N_IN_FRONT)])
    pixels = _color(np.asarray(tones), first + _N_IN_FRONT, rng) * _light(mask, rng)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).reduce(2)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
    noise = rng.normal(0, rng.uniform(2, 10), (_SIDE_PX, _SIDE_PX, 1))
    return (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)


def _fill(image: Image.Image, parts: _Parts) -> None:
    draw = ImageDraw.Draw(image)
    for points, tone in parts:
        draw.polygon([*((points + 1) * _CANVAS_PX / 2).ravel()], fill=tone)


def _fragment(rng: _RNG) -> _Points:
    """A part of an object of any class, anywhere."""
    outline = list(_OUTLINES.values())[rng.integers(len(_OUTLINES))]
    parts = outline(rng)
    points = parts[int(rng.integers(len(parts)))][0]
    pose = _pose(rng, size=(0.3, 0.7), turn=np.pi, shift=1)
    return (points - points.mean(0)) @ pose[:2] + pose[2]


def _pose(rng: _RNG, *, size: tuple[float, float], turn: float, shift: float) -> _Points:
    """Matrix that turns, mirrors, stretches and scales, above the vector that shifts."""
    stretch = np.exp(rng.normal(0, 0.12))
    scales = rng.uniform(*size) * np.array([rng.choice([-1, 1]) * stretch, 1 / stretch])
    slant = np.array([[1, 0], [rng.normal(0, 0.12), 1]])
    matrix = np.diag(scales) @ slant @ _rotation(rng.uniform(-turn, turn))
    return np.vstack([matrix, rng.uniform(-shift, shift, 2)])


def _color(tones: npt.NDArray[np.uint8], n_tones: int, rng: _RNG) -> _Pixels:
    """Two colors per tone, mixed by a texture of any direction and period."""
    textures = np.stack(_textures(rng))
    mix = np.choose(rng.integers(len(textures), size=n_tones)[tones], textures)
    first, second = rng.uniform(size=(2, n_tones, 3)) * (1, 0.8, 0.75) + (0, 0.1, 0.25)
    # Textures of close colors leave an object's outline visible.
    ends = [255 * np.array([colorsys.hsv_to_rgb(*hsv) for hsv in colors], np.float32)
            for colors in (first, first + 0.4 * (second - first))]  # fmt: skip
    return ends[0][tones] + mix[..., None] * (ends[1] - ends[0])[tones]


def _textures(rng: _RNG) -> list[_Pixels]:
    """Mottled, faintly mottled, striped and spotted; from 0 to 1."""
    coarse = Image.fromarray(rng.uniform(size=(24, 24)).astype(np.float32))
    size = (_CANVAS_PX, _CANVAS_PX)
    mottled = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 32)
    x = np.arange(_CANVAS_PX, dtype=np.float32) / np.float32(period)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = (x * cos + x[:, None] * sin) % 1 - np.float32(0.5)
    v = (x[:, None] * cos - x * sin) % 1 - np.float32(0.5)
    striped, spotted = u > 0, u * u + v * v < 0.09
    hard = [np.asarray(texture, np.float32) for texture in (striped, spotted)]
    return [mottled, np.float32(0.3) * mottled, *hard]


def _light(mask: Image.Image, rng: _RNG) -> _Pixels:
    """Factors of brightness: a gradient over the image, and the object's soft shadow."""
    x = np.linspace(-1, 1, _CANVAS_PX, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4)
    gradient = 1 + strength * np.cos(angle) * x + strength * np.sin(angle) * x[:, None]
    dx, dy = rng.integers(-12, 13, 2)
    shadow = ImageChops.offset(mask, int(dx), int(dy)).filter(ImageFilter.GaussianBlur(6))
    shadow.paste(0, mask=mask)
    darkness = np.asarray(shadow, np.float32) * np.float32(rng.uniform(0, 0.6) / 255)
    return (gradient.astype(np.float32) * (1 - darkness))[..., None]


def _rotation(angle: float) -> _Points:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _ellipse(x: float, y: float, rx: float, ry: float, *, turn: float = 0.0) -> _Points:
    t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([rx * np.cos(t), ry * np.sin(t)], 1) @ _rotation(turn) + (x, y)


def _box(left: float, top: float, right: float, bottom: float) -> _Points:
    return _polygon((left, top), (right, top), (right, bottom), (left, bottom))


def _polygon(*points: tuple[float, float]) -> _Points:
    return np.array(points, float)


def _bar(start: tuple[float, float], end: tuple[float, float], width: float) -> _Points:
    """A straight line of some width."""
    a, b = np.array(start), np.array(end)
    aside = (b - a)[::-1] * (-1, 1) * width / 2 / np.hypot(*(b - a))
    return np.array([a + aside, b + aside, b - aside, a - aside])


def _butterfly(rng: _RNG) -> _Parts:
    upper, lower, lean = rng.uniform(0.35, 0.5), rng.uniform(0.25, 0.4), rng.uniform(0.3, 0.9)
    parts: _Parts = []
    for side in (-1, 1):
        parts += [
            (_ellipse(side * 0.4, 0.35, lower, 0.28, turn=side * lean), 2),
            (_ellipse(side * 0.45, -0.3, upper, 0.32, turn=-side * lean), 1),
            (_ellipse(side * 0.5, -0.35, 0.12, 0.12), 3),
            (_bar((0, -0.5), (side * rng.uniform(0.15, 0.3), -0.95), 0.04), 3),
        ]
    return [*parts, (_ellipse(0, 0, 0.07, 0.55), 3)]


def _carrot(rng: _RNG) -> _Parts:
    width, tip = rng.uniform(0.2, 0.4), rng.uniform(-0.15, 0.15)
    root = _polygon((-width, -0.2), (-width * 0.6, -0.35), (width * 0.6, -0.35), (width, -0.2),
                    (width * 0.55, 0.35), (tip, 0.95), (-width * 0.55, 0.35))  # fmt: skip
    leaves: _Parts = [
        (_ellipse(0.5 * np.sin(a), -0.3 - 0.35 * np.cos(a), 0.09, 0.38, turn=a), 2)
        for a in np.linspace(-0.8, 0.8, int(rng.integers(3, 7))) + rng.normal(0, 0.1)
    ]
    rings: _Parts = [
        (_bar((-w * width, y), (w * width * rng.uniform(-0.3, 0.5), y), 0.04), 3)
        for y, w in ((-0.05, 0.8), (0.2, 0.6), (0.45, 0.4))
    ]
    return [*leaves, (root, 1), *rings]


def _chair(rng: _RNG) -> _Parts:
    half, top, depth = rng.uniform(0.35, 0.5), rng.uniform(-0.95, -0.7), rng.uniform(0.15, 0.3)
    seat, leg = rng.uniform(0.0, 0.2), rng.uniform(0.07, 0.12)
    slant = rng.uniform(-0.2, 0.2)
    legs: _Parts = [(_bar((x, seat), (x, 0.7), leg), 3) for x in (-half + slant, half + slant)]
    legs += [(_bar((x, seat + depth), (x, 0.95), leg), 2) for x in (-half, half)]
    cushion = _polygon((-half + slant, seat), (half + slant, seat), (half, seat + depth),
                       (-half, seat + depth))  # fmt: skip
    posts: _Parts = [(_bar((x + slant, top), (x + slant, seat), leg), 2) for x in (-half, half)]
    if rng.uniform() < 0.5:
        xs = np.linspace(-half, half, int(rng.integers(3, 6))) + slant
        back: _Parts = [(_bar((x, top), (x, seat), 0.06), 2) for x in xs]
        back.append((_box(slant - half, top, slant + half, top + 0.15), 1))
    else:
        back = [(_box(slant - half, top, slant + half, top + rng.uniform(0.3, 0.6)), 1)]
    return [*legs, (cushion, 1), *posts, *back]


def _fish(rng: _RNG) -> _Parts:
    height, end = rng.uniform(0.22, 0.48), rng.uniform(0.2, 0.5)
    tail = _polygon((0.4, 0), (0.95, -end), (rng.uniform(0.65, 0.9), 0), (0.95, end))
    fin = _polygon((-0.2, -height * 0.8), (0.35, -height * 1.6), (0.3, -height * 0.5))
    return [
        (tail, 2),
        (fin, 2),
        (fin * (1, -rng.uniform(0.6, 1)), 2),
        (_ellipse(-0.15, 0, 0.68, height), 1),
        (_ellipse(0.0, height * 0.1, 0.18, height * 0.3, turn=0.5), 2),
        (_ellipse(rng.uniform(-0.6, -0.5), -height * 0.2, 0.07, 0.07), 3),
    ]


def _key(rng: _RNG) -> _Parts:
    bow, width, length = rng.uniform(0.24, 0.38), rng.uniform(0.1, 0.18), rng.uniform(0.75, 0.95)
    if rng.uniform() < 0.5:
        head = _ellipse(-0.6, 0, bow, bow * rng.uniform(0.8, 1.2))
    else:
        head = _box(-0.6 - bow, -bow, -0.6 + bow, bow)
    hole = _ellipse(-0.6 - bow * 0.2, 0, bow * 0.5, bow * 0.5)
    teeth: _Parts = [
        (_box(x, 0, x + 0.09, rng.uniform(0.2, 0.4)), 1)
        for x in np.linspace(length - 0.1, length - 0.5, int(rng.integers(2, 5)))
    ]
    return [(_box(-0.5, -width / 2, length, width / 2), 1), *teeth, (head, 1), (hole, _HOLE)]


def _lamp(rng: _RNG) -> _Parts:
    top, bottom, edge = rng.uniform(0.15, 0.35), rng.uniform(0.45, 0.65), rng.uniform(-0.2, 0.1)
    foot = rng.uniform(0.3, 0.5)
    shade = _polygon((-top, -0.9), (top, -0.9), (bottom, edge), (-bottom, edge))
    stem: _Parts = [(_bar((0, edge), (0, 0.85), rng.uniform(0.06, 0.14)), 2)]
    if rng.uniform() < 0.5:
        stem.append((_ellipse(0, 0.5, rng.uniform(0.15, 0.3), 0.3), 2))
    return [*stem, (_ellipse(0, 0.87, foot, 0.09), 3), (shade, 1)]


def _mushroom(rng: _RNG) -> _Parts:
    half, edge, height = rng.uniform(0.55, 0.85), rng.uniform(-0.15, 0.1), rng.uniform(0.4, 0.8)
    stalk, foot = rng.uniform(0.12, 0.25), rng.uniform(0.15, 0.35)
    t = np.linspace(np.pi, 2 * np.pi, 24)
    cap = np.stack([half * np.cos(t), edge + height * np.sin(t)], 1)
    spots: _Parts = [
        (_ellipse(half * x, edge + height * y, 0.09, 0.07), 3)
        for x, y in rng.uniform((-0.6, -0.75), (0.6, -0.15), (int(rng.integers(0, 6)), 2))
    ]
    stem = _polygon((-stalk, edge), (stalk, edge), (foot, 0.9), (-foot, 0.9))
    return [(stem, 2), (_ellipse(0, edge, half, 0.12), 3), (cap, 1), *spots]


def _sailboat(rng: _RNG) -> _Parts:
    half, deck, mast = rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.55), rng.uniform(-0.15, 0.15)
    hull = _polygon((-half, deck), (half, deck), (half * 0.65, 0.85), (-half * 0.7, 0.85))
    boom, top = deck - 0.1, rng.uniform(-0.95, -0.75)
    main = _polygon((mast + 0.05, top), (mast + 0.05, boom), (mast + rng.uniform(0.4, 0.75), boom))
    jib = _polygon((mast - 0.05, top + rng.uniform(0.1, 0.3)), (mast - 0.05, boom),
                   (mast - rng.uniform(0.35, 0.65), boom))  # fmt: skip
    return [(hull, 1), (_bar((mast, -0.97), (mast, deck), 0.05), 3), (main, 2), (jib, 2)]


def _teapot(rng: _RNG) -> _Parts:
    half, height, reach = rng.uniform(0.4, 0.55), rng.uniform(0.35, 0.5), rng.uniform(0.8, 0.98)
    spout = _polygon((half * 0.7, 0.3), (half * 0.9, 0.0), (reach, -0.35), (reach - 0.15, -0.4))
    loop = rng.uniform(0.2, 0.32)
    return [
        (_ellipse(-half, 0.1, loop, loop), 2),
        (_ellipse(-half, 0.1, loop * 0.6, loop * 0.6), _HOLE),
        (spout, 1),
        (_box(-half * 0.6, height * 0.7, half * 0.6, height + 0.22), 2),
        (_ellipse(0, 0.15, half, height), 1),
        (_ellipse(0, 0.2 - height, half * 0.6, 0.1), 2),
        (_ellipse(0, 0.05 - height, 0.08, 0.08), 3),
    ]


def _windmill(rng: _RNG) -> _Parts:
    top, foot, start = rng.uniform(0.1, 0.2), rng.uniform(0.25, 0.4), rng.uniform(0, np.pi)
    width, length = rng.uniform(0.1, 0.2), rng.uniform(0.55, 0.7)
    tower = _polygon((-top, -0.3), (top, -0.3), (foot, 0.95), (-foot, 0.95))
    cap = _polygon((-top - 0.05, -0.3), (0, -0.55), (top + 0.05, -0.3))
    sails: _Parts = [
        (_box(0.12, 0, length, width) @ _rotation(start + i * np.pi / 2) + (0, -0.3), 3)
        for i in range(4)
    ]
    bars: _Parts = [
        (_box(-length, -0.025, length, 0.025) @ _rotation(start + i * np.pi / 2) + (0, -0.3), 2)
        for i in range(2)
    ]
    return [(tower, 1), (_box(-0.09, 0.65, 0.09, 0.95), 2), (cap, 2), *sails, *bars]


_OUTLINES: dict[str, Callable[[_RNG], _Parts]] = {
    draw.__name__.removeprefix("_"): draw
    for draw in (
        _butterfly, _carrot, _chair, _fish, _key, _lamp, _mushroom, _sailboat, _teapot, _windmill
    )
}  # fmt: skip
