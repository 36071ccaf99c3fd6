"""Draw the sample images in ``data/samples``: five classes, like photographs and like sketches.

    python scripts/make_sample_images.py --per-class 16 -o data/samples

writes ``<domain>/<class>/NN.jpg``. An image depends on seed, domain, class and number alone, so a
larger collection begins with the smaller one. What it draws is in the public domain (CC0 1.0).
"""

from __future__ import annotations

import argparse
import colorsys
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 144
FINE = 3  # drawn this many times larger, then reduced, for smooth edges
Rng = np.random.Generator


@dataclass(frozen=True)
class Shape:
    """One filled outline; x and y run from -1 to 1, y downwards."""

    points: np.ndarray  # (n, 2)
    hue: float
    saturation: float
    value: float


def ellipse(x: float, y: float, rx: float, ry: float, *, turn: float = 0.0) -> np.ndarray:
    """Return the outline (40, 2) of an ellipse, turned by so many radians."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([rx * np.cos(t), ry * np.sin(t)], 1) @ rotation(turn) + (x, y)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the outline (4, 2) of a box."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def rotation(angle: float) -> np.ndarray:
    """Return the matrix (2, 2) that turns rows by an angle in radians."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


# ---------------------------------------------------------------------------- classes


def fish(rng: Rng) -> list[Shape]:
    """Return a fish seen from the side."""
    hue, height = rng.uniform(), rng.uniform(0.25, 0.45)
    end = rng.uniform(0.35, 0.6) * height / 0.4
    tail = np.array([(0.45, 0), (0.95, -end), (0.8, 0), (0.95, end)])
    fin = np.array([(-0.15, -height * 0.9), (0.3, -height * 1.5), (0.3, -height * 0.6)])
    eye_x = rng.uniform(-0.5, -0.4)
    return [
        Shape(tail, hue, 0.7, 0.65),
        Shape(fin, hue, 0.7, 0.6),
        Shape(ellipse(-0.1, 0, 0.65, height), hue, 0.65, 0.85),
        Shape(ellipse(0.05, height * 0.15, 0.16, height * 0.3, turn=0.5), hue, 0.75, 0.6),
        Shape(ellipse(eye_x, -height * 0.25, 0.08, 0.08), 0, 0, 0.95),
        Shape(ellipse(eye_x - 0.01, -height * 0.25, 0.04, 0.04), 0, 0, 0.1),
    ]


def flower(rng: Rng) -> list[Shape]:
    """Return a flower on its stem."""
    hue, n_petals = rng.uniform(0.75, 1.15) % 1, int(rng.integers(5, 10))
    length, width, start = rng.uniform(0.28, 0.4), rng.uniform(0.1, 0.17), rng.uniform(0, 6)
    center = np.array([rng.uniform(-0.1, 0.1), -0.3])
    petals = []
    for angle in start + np.arange(n_petals) * 2 * np.pi / n_petals:
        x, y = center + length * np.array([np.cos(angle), np.sin(angle)])
        petals.append(Shape(ellipse(x, y, length * 0.75, width, turn=angle), hue, 0.6, 0.9))
    x, y = center
    stem = np.array([(x - 0.03, y), (x + 0.03, y), (0.05, 0.95), (-0.03, 0.95)])
    leaf = ellipse(rng.choice([-0.22, 0.24]), 0.55, 0.22, 0.09, turn=rng.uniform(-0.5, 0.5))
    heart = ellipse(*center, length * 0.45, length * 0.45)
    green = [Shape(stem, 0.31, 0.7, 0.5), Shape(leaf, 0.31, 0.65, 0.6)]
    return [*green, *petals, Shape(heart, 0.13, 0.8, 0.85)]


def house(rng: Rng) -> list[Shape]:
    """Return a house with roof, door and windows."""
    half, eaves, ridge = rng.uniform(0.5, 0.75), rng.uniform(-0.25, 0.0), rng.uniform(-0.85, -0.6)
    wall_hue, tip = rng.uniform(0.02, 0.15), rng.uniform(-0.2, 0.2)
    roof = np.array([(-half - 0.12, eaves), (tip, ridge), (half + 0.12, eaves)])
    door_x = rng.uniform(-0.15, 0.1)
    chimney = box(half * 0.45, ridge + 0.05, half * 0.65, eaves)
    window = box(-0.12, eaves + 0.15, 0.12, eaves + 0.4)
    windows = [window + np.array([x, 0]) for x in (0.2 - half, half - 0.2)]
    return [
        Shape(chimney, 0.03, 0.6, 0.5),
        Shape(box(-half, eaves, half, 0.8), wall_hue, rng.uniform(0.1, 0.45), 0.85),
        Shape(roof, rng.choice([0.02, 0.6, 0.08]), 0.6, 0.55),
        Shape(box(door_x, 0.3, door_x + 0.25, 0.8), rng.uniform(), 0.6, 0.45),
        *(Shape(window, 0.55, 0.35, 0.9) for window in windows),
    ]


def mug(rng: Rng) -> list[Shape]:
    """Return a mug with its handle and what is in it."""
    hue, half, top = rng.uniform(), rng.uniform(0.35, 0.5), rng.uniform(-0.6, -0.4)
    taper, side = rng.uniform(0.75, 1.0), rng.choice([-1, 1])
    body = np.array([(-half, top), (half, top), (half * taper, 0.6), (-half * taper, 0.6)])
    foot = ellipse(0, 0.6, half * taper, 0.1)
    handle = ellipse(side * half, 0.05, 0.3, 0.32)
    hole = ellipse(side * half, 0.05, 0.18, 0.2)
    band = box(-half * 0.9, 0.0, half * 0.9, 0.18)
    return [
        Shape(handle, hue, 0.6, 0.65),
        Shape(hole, 0.1, 0.05, 0.9),
        Shape(foot, hue, 0.6, 0.75),
        Shape(body, hue, 0.6, 0.8),
        Shape(band, (hue + 0.5) % 1, 0.4, 0.9),
        Shape(ellipse(0, top, half, 0.14), hue, 0.4, 0.95),
        Shape(ellipse(0, top + 0.02, half * 0.86, 0.1), 0.07, 0.7, 0.3),
    ]


def tree(rng: Rng) -> list[Shape]:
    """Return a tree: a conifer of three tiers or a crown of round tufts."""
    trunk = Shape(box(-0.09, 0.1, 0.09, 0.9), 0.07, 0.6, 0.4)
    hue, width = rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.6)
    if rng.uniform() < 0.4:
        tiers = [(0.5, 1.0), (0.1, 0.8), (-0.3, 0.55)]
        cones = [np.array([(-width * w, y), (0, y - 0.6), (width * w, y)]) for y, w in tiers]
        return [trunk, *(Shape(cone, hue, 0.65, 0.45 + 0.06 * i) for i, cone in enumerate(cones))]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(6) * np.pi / 3
    spots = [(width * 0.7 * np.cos(a), -0.3 + 0.33 * np.sin(a)) for a in angles]
    tufts = [ellipse(x, y, *rng.uniform(0.26, 0.36, 2)) for x, y in [*spots, (0, -0.35)]]
    return [trunk, *(Shape(tuft, hue, 0.65, rng.uniform(0.42, 0.62)) for tuft in tufts)]


CLASSES: dict[str, Callable[[Rng], list[Shape]]] = {
    draw.__name__: draw for draw in (fish, flower, house, mug, tree)
}


# ---------------------------------------------------------------------------- domains


def photo(shapes: list[Shape], rng: Rng) -> Image.Image:
    """Return the shapes lit from one side, grainy, before a blurred background."""
    side = SIDE_PX * FINE
    image = _background(rng, side)
    light = rng.uniform(0, 2 * np.pi)
    image.paste((30, 30, 35), (0, 0), _shadow(shapes, side))
    for shape in shapes:
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).polygon(_pixels(shape.points, side), fill=255)
        image.paste(_surface(shape, light, rng, side), (0, 0), mask)
    image = image.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    grain = rng.normal(0, rng.uniform(3, 7), (SIDE_PX, SIDE_PX, 1)) + np.asarray(image, float)
    return _from_array(grain * rng.uniform(0.8, 1.15))


def sketch(shapes: list[Shape], rng: Rng) -> Image.Image:
    """Return the shapes as pencil outlines by an unsteady hand, the dark ones hatched, on paper."""
    side = SIDE_PX * FINE
    image = Image.new("L", (side, side), int(rng.integers(236, 255)))
    pencil, ink = int(rng.integers(2, 5)) * FINE // 2, int(rng.integers(20, 90))
    for shape in shapes:
        outline = _pixels(_unsteady(shape.points, rng), side)
        ImageDraw.Draw(image).polygon(outline, fill=image.getpixel((0, 0)))
        if shape.value < 0.7:
            _hatch(image, outline, ink + 60, step=int(rng.integers(5, 8)) * FINE)
        ImageDraw.Draw(image).line([*outline, outline[0]], ink, pencil, joint="curve")
    return image.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


DOMAINS = {"photo": (photo, ".jpg"), "sketch": (sketch, ".png")}


def _background(rng: Rng, side: int) -> Image.Image:
    """Return two blurred, mottled bands of color: one above a horizon and one below."""
    above, below = (_color(rng.uniform(), rng.uniform(0.1, 0.4), v) for v in (0.75, 0.5))
    horizon = rng.uniform(0.5, 0.85) * SIDE_PX
    rows = np.where(np.arange(SIDE_PX)[:, None, None] < horizon, above, below)
    mottled = rows * np.ones((1, SIDE_PX, 1)) + _mottle(rng, 24)[..., None]
    blurred = _from_array(mottled).filter(ImageFilter.GaussianBlur(4))
    return blurred.resize((side, side), Image.Resampling.BILINEAR)


def _surface(shape: Shape, light: float, rng: Rng, side: int) -> Image.Image:
    """Return a square image of one color, brighter towards the light, mottled."""
    y, x = np.mgrid[-1 : 1 : SIDE_PX * 1j, -1 : 1 : SIDE_PX * 1j]
    shade = 1 + 0.35 * (x * np.cos(light) + y * np.sin(light))
    pixels = _color(shape.hue, shape.saturation, shape.value) * shade[..., None]
    pixels = pixels + _mottle(rng, 10)[..., None]
    return _from_array(pixels).resize((side, side), Image.Resampling.BILINEAR)


def _shadow(shapes: list[Shape], side: int) -> Image.Image:
    mask = Image.new("L", (side, side))
    for shape in shapes:
        ImageDraw.Draw(mask).polygon(_pixels(shape.points + 0.05, side), fill=130)
    return mask.filter(ImageFilter.GaussianBlur(4 * FINE))


def _mottle(rng: Rng, strength: float) -> np.ndarray:
    """Return smooth noise (side, side) around zero."""
    coarse = Image.fromarray(rng.normal(0, strength, (18, 18)).astype(np.float32))
    return np.asarray(coarse.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))


def _unsteady(points: np.ndarray, rng: Rng) -> np.ndarray:
    """Return the outline with more points on its edges, each a little off."""
    following = np.roll(points, -1, axis=0)
    n_parts = max(1, 40 // len(points))
    share = np.arange(n_parts)[:, None] / n_parts
    dense = np.concatenate([a + share * (b - a) for a, b in zip(points, following)])
    return dense + rng.normal(0, 0.008, dense.shape)


def _hatch(image: Image.Image, outline: list[tuple[float, float]], ink: int, *, step: int) -> None:
    """Draw slanting lines inside an outline."""
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    lines, side = image.copy(), image.size[0]
    for x in range(-side, side, step):
        ImageDraw.Draw(lines).line([(x, side), (x + side, 0)], ink, FINE)
    image.paste(lines, (0, 0), mask)


def _pixels(points: np.ndarray, side: int) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (points + 1) * side / 2]


def _color(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255


def _from_array(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


# ---------------------------------------------------------------------------- command line


def draw(domain: str, class_name: str, number: int, *, seed: int = 0) -> Image.Image:
    """Return image `number` of a class in a domain."""
    where = (list(DOMAINS).index(domain), list(CLASSES).index(class_name))
    rng = np.random.default_rng([seed, *where, number])
    size, angle, mirror = rng.uniform(0.65, 0.9), rng.normal(0, 0.12), rng.choice([-1, 1])
    moved = rng.uniform(-0.12, 0.12, 2)
    pose = rotation(angle) @ np.diag([mirror, 1]) * size
    shapes = CLASSES[class_name](rng)
    posed = [Shape(s.points @ pose + moved, s.hue, s.saturation, s.value) for s in shapes]
    return DOMAINS[domain][0](posed, rng)


def make(target: Path, n_per_class: int, *, seed: int = 0) -> int:
    """Write all images below `target`; return how many."""
    names = [(d, c, n) for d in DOMAINS for c in CLASSES for n in range(n_per_class)]
    for domain, class_name, number in names:
        file = target / domain / class_name / f"{number:02d}{DOMAINS[domain][1]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(domain, class_name, number, seed=seed).save(file, quality=82, optimize=True)
    return len(names)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("data/samples"))
    parser.add_argument("--per-class", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    n_written = make(args.output, args.per_class, seed=args.seed)
    print(f"{n_written} images in {args.output}", file=sys.stderr)


if __name__ == "__main__":
    main()
