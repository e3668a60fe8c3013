"""Generated fundus photographs with vessel masks.

A vessel is a smooth random walk that starts at the optic disc, tapers, and branches; the main arcades bend around the
macula. Mask and dark vessels in the image are drawn from the same curves, so that the mask is exact to the pixel.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from segcli.core.files import typed
from segcli.core.types import Array
from segcli.samples import Example, SampleMaker

__all__ = ["Vessels"]

OVERSAMPLING = 2
SHIFT = 4
"""Fractional bits of OpenCV's sub-pixel coordinates."""
THICK, THIN = 0.0140, 0.0040
"""Radius of a vessel at the disc and at its end, in radii of the field of view."""
STEP = 0.018
"""Length of one step of a vessel in radii of the field of view."""
FIBRE = np.array([0.16, 0.50, 0.42], dtype=np.float32)
"""Share of red, green and blue light that a vessel of full contrast absorbs."""


@dataclass
class _Eye:
    """Geometry of one eye, in pixels of the oversampled image."""

    size: int
    radius: float
    centre: Array
    disc: Array
    macula: Array
    side: float
    """1 if the macula is to the right of the disc, -1 if it is to the left."""
    strokes: list[tuple[float, float, bool, Array]] = field(default_factory=list)
    """Radius, contrast, artery (True) or vein, and points of each stroke."""


class Vessels(SampleMaker):
    """Retinal photographs: vessel trees, optic disc, macula, uneven illumination, noise, round field of view."""

    default_size = 256
    default_counts = {"train": 24, "val": 6, "test": 8}

    def draw(self, rng: np.random.Generator, size: int) -> Example:
        """Draw one photograph with its vessel mask and its field of view."""
        eye = _eye(rng, size * OVERSAMPLING)
        for angle, artery in _arcades(rng, eye):
            _grow(rng, eye, eye.disc, angle, THICK * eye.radius * (0.8 if artery else 1.0), artery=artery, depth=0)
        eye.strokes.sort(key=lambda stroke: stroke[0])  # thick vessels are drawn over thin ones
        light = _retina(rng, eye)
        light *= 1.0 - _darkening(eye)[:, :, None] * FIBRE * rng.uniform(0.85, 1.1)
        _lesions(rng, eye, light)
        fov = _field_of_view(rng, eye)
        image = _photograph(rng, light, fov, size)
        seen = _smaller(fov, size) > 127
        label = (_smaller(_mask(eye), size) > 110) & seen
        return Example(image, np.where(label, 255, 0).astype(np.uint8), np.where(seen, 255, 0).astype(np.uint8))

    def dataset_yaml(self, folder: Path, size: int) -> str:
        """Return the text of the data-set YAML beside the images."""
        return (
            f"# segcli data check {typed(folder / 'dataset.yaml')}\n"
            f"# Generated fundus photographs of {size}x{size} pixels, made by `segcli data sample vessels`.\n"
            "name: vessels_sample\n"
            "paths: {root: .}\n"
            "fov_folder: fov\n"
            "num_channels: 3\n"
            "num_classes: 1\n"
            "mean: [0.581, 0.285, 0.134]\n"
            "std: [0.111, 0.069, 0.045]\n"
        )


def _eye(rng: np.random.Generator, size: int) -> _Eye:
    radius = size * rng.uniform(0.46, 0.49)
    centre = np.array([size / 2, size / 2]) + rng.uniform(-0.01, 0.01, 2) * size
    side = float(rng.choice([-1.0, 1.0]))
    disc = centre + radius * np.array([-side * rng.uniform(0.42, 0.58), rng.uniform(-0.08, 0.08)])
    macula = disc + radius * np.array([side * rng.uniform(0.72, 0.85), rng.uniform(0.0, 0.1)])
    return _Eye(size, radius, centre, disc, macula, side)


def _arcades(rng: np.random.Generator, eye: _Eye) -> list[tuple[float, bool]]:
    """Choose the direction of each main vessel at the disc, and artery (True) or vein."""
    towards = 0.0 if eye.side > 0 else np.pi
    found: list[tuple[float, bool]] = []
    for artery in (True, False):
        spread = 0.12 if artery else -0.12
        # upper and lower arcade around the macula; then nasal vessels
        temporal = [steep + np.sign(steep) * spread + rng.normal(0, 0.08) for steep in (1.25, -1.25)]
        nasal = [steep + spread + rng.normal(0, 0.15) for steep in (2.35, -2.35)]
        found += [(towards + eye.side * float(steep), artery) for steep in (*temporal, *nasal)]
    for _ in range(int(rng.integers(2, 5))):  # small vessels straight to the macula or the nasal side
        found += [(towards + float(rng.choice([0.0, np.pi]) + rng.normal(0, 0.45)), bool(rng.random() < 0.5))]
    return found


def _grow(
    rng: np.random.Generator, eye: _Eye, start: Array, angle: float, width: float, *, artery: bool, depth: int
) -> None:
    """Grow one vessel from `start`, with its branches.

    The direction turns slowly to the target of this kind of vessel; a random wobble makes the vessel tortuous.
    """
    step, ends = STEP * eye.radius, THIN * eye.radius
    target = _leads_to(rng, eye, start, angle, depth)
    heading, wobble, swing = angle, 0.0, 0.055 if artery else 0.075
    tapering = rng.uniform(0.987, 0.992) if depth == 0 else rng.uniform(0.974, 0.986)
    until_branch = rng.exponential(4.0) + 7.0
    side = float(rng.choice([-1.0, 1.0]))
    point = start + (0.03 * eye.radius * rng.normal(size=2) if depth == 0 else 0.0)
    points = [point]
    while width > ends and len(points) < 120 and _inside(eye, point):
        heading += 0.028 * _turn(heading, target)
        wobble = 0.9 * wobble + rng.normal(0, swing)
        point = point + step * np.array([np.cos(heading + wobble), np.sin(heading + wobble)])
        points.append(point)
        width *= tapering
        until_branch -= 1.0
        if until_branch < 0 and depth < 4:
            until_branch = rng.exponential(5.0) + 5.0
            share, away = rng.uniform(0.45, 0.75), side * rng.uniform(0.5, 1.1)
            _grow(rng, eye, point, heading + wobble + away, width * share, artery=artery, depth=depth + 1)
            heading -= 0.12 * away
            width *= np.sqrt(1.0 - 0.3 * share**2)
            side = -side if rng.random() < 0.75 else side
        if len(points) % 6 == 0:
            _stroke(eye, points[-7:], width, artery=artery)
    _stroke(eye, points[-(len(points) % 6 + 1) :], max(width, ends), artery=artery)


def _leads_to(rng: np.random.Generator, eye: _Eye, start: Array, angle: float, depth: int) -> float:
    """Compute the final direction of a vessel: main temporal vessels pass the macula, branches spread out."""
    if depth:
        return float(angle + rng.normal(0, 0.35))
    to_macula = eye.macula - start
    horizontal = float(np.arctan2(to_macula[1], to_macula[0]))
    if abs(_turn(angle, horizontal)) < 1.75:
        return float(horizontal - 0.12 * np.sign(_turn(angle, horizontal)) + rng.normal(0, 0.1))
    return float(angle + rng.normal(0, 0.25))


def _turn(angle: float, target: float) -> float:
    """Compute the smallest turn from one direction to another, in radians."""
    return float((target - angle + np.pi) % (2 * np.pi) - np.pi)


def _inside(eye: _Eye, point: Array) -> bool:
    """Tell if a point is in the field of view and outside the vessel-free centre of the macula."""
    free = np.linalg.norm(point - eye.macula) < 0.11 * eye.radius
    return bool(np.linalg.norm(point - eye.centre) < 1.02 * eye.radius and not free)


def _stroke(eye: _Eye, points: list[Array], width: float, *, artery: bool) -> None:
    if len(points) > 1:
        thin, thick = THIN * eye.radius, THICK * eye.radius
        contrast = 0.50 + 0.50 * min(max((width - thin) / (0.6 * (thick - thin)), 0.0), 1.0)
        eye.strokes.append((width, contrast * (0.82 if artery else 1.0), artery, np.array(points)))


def _lines(canvas: Array, points: Array, width: float, value: float) -> None:
    fixed = np.rint(points * 2**SHIFT).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [fixed], False, value, max(1, round(2 * width)), cv2.LINE_AA, SHIFT)


def _mask(eye: _Eye) -> Array:
    canvas = np.zeros((eye.size, eye.size), np.uint8)
    for width, _, _, points in eye.strokes:
        _lines(canvas, points, width, 255)
    return canvas


def _darkening(eye: _Eye) -> Array:
    """Draw the vessel contrast (0 to 1) at each pixel, with the light reflex along the middle of wide vessels."""
    canvas = np.zeros((eye.size, eye.size), np.uint8)
    for width, contrast, artery, points in eye.strokes:
        _lines(canvas, points, width, 255 * contrast)
        if width > 0.55 * THICK * eye.radius:
            _lines(canvas, points, 0.3 * width, 255 * contrast * (0.62 if artery else 0.85))
    soft = cv2.GaussianBlur(canvas, (0, 0), 0.0022 * eye.size + 0.4).astype(np.float32) / 255
    distance = np.hypot(*(axis - at for axis, at in zip(_grid(eye), eye.disc, strict=True))) / eye.radius
    return np.asarray(soft * (1.0 - 0.45 * np.exp(-((distance / 0.13) ** 2))), dtype=np.float32)


def _grid(eye: _Eye) -> tuple[Array, Array]:
    """Return the coordinates x and y of every pixel."""
    rows, columns = np.mgrid[: eye.size, : eye.size].astype(np.float32)
    return columns, rows


def _cloud(rng: np.random.Generator, size: int, grain: float) -> Array:
    """Make smooth noise with standard deviation 1; the spot size is `grain` times the image size."""
    cells = max(int(1.0 / grain) + 3, 4)
    coarse = rng.normal(size=(cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth / max(float(smooth.std()), 1e-6), dtype=np.float32)


def _retina(rng: np.random.Generator, eye: _Eye) -> Array:
    """Draw the retina without vessels, `(H, W, 3)` from 0 to about 1."""
    x, y = _grid(eye)
    size, radius = eye.size, eye.radius
    base = np.array([rng.uniform(0.62, 0.8), rng.uniform(0.30, 0.42), rng.uniform(0.12, 0.22)], dtype=np.float32)
    away = np.hypot(x - eye.centre[0], y - eye.centre[1]) / radius
    angle = rng.uniform(0, 2 * np.pi)
    slope = ((x - eye.centre[0]) * np.cos(angle) + (y - eye.centre[1]) * np.sin(angle)) / radius
    shade = 1.0 - rng.uniform(0.25, 0.42) * away**2 + rng.uniform(0.02, 0.12) * slope + 0.05 * _cloud(rng, size, 0.25)
    mottling = 0.016 * _cloud(rng, size, 0.035) + 0.014 * _cloud(rng, size, 0.012)
    light = (shade + mottling)[:, :, None] * base
    light[:, :, 0] *= 1.0 + 0.02 * _cloud(rng, size, 0.06)
    dark = np.exp(-(((x - eye.macula[0]) ** 2 + (y - eye.macula[1]) ** 2) / (rng.uniform(0.17, 0.24) * radius) ** 2))
    light *= 1.0 - dark[:, :, None] * np.array([0.16, 0.34, 0.30], dtype=np.float32) * rng.uniform(0.7, 1.1)
    _disc(rng, eye, light)
    return np.asarray(light, dtype=np.float32)


def _disc(rng: np.random.Generator, eye: _Eye, light: Array) -> None:
    """Draw the optic disc: bright, yellowish, with a paler cup."""
    x, y = _grid(eye)
    radius = rng.uniform(0.13, 0.17) * eye.radius
    distance = np.hypot((x - eye.disc[0]) / rng.uniform(0.88, 1.0), y - eye.disc[1]) / radius
    edge = 1.0 / (1.0 + np.exp(np.minimum((distance - 1.0) / 0.07, 50.0)))
    cup = 1.0 / (1.0 + np.exp(np.minimum((distance - rng.uniform(0.35, 0.55)) / 0.1, 50.0)))
    colour = np.array([0.95, 0.72, 0.42], dtype=np.float32) * rng.uniform(0.9, 1.03)
    light += edge[:, :, None] * 0.72 * (colour - light)
    light += cup[:, :, None] * np.array([0.05, 0.14, 0.16], dtype=np.float32)
    halo = np.exp(-((distance / 1.9) ** 2))
    light += halo[:, :, None] * np.array([0.03, 0.03, 0.01], dtype=np.float32)


def _lesions(rng: np.random.Generator, eye: _Eye, light: Array) -> None:
    """Draw a few dark and bright spots that are not vessels."""
    for dark in (True, False):
        spots = np.zeros((eye.size, eye.size), np.float32)
        for _ in range(int(rng.poisson(4.0 if dark else 2.0))):
            angle, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.85 * eye.radius
            at = eye.centre + away * np.array([np.cos(angle), np.sin(angle)])
            axes = rng.uniform(0.006, 0.018, 2) * eye.radius + 0.5
            cv2.ellipse(
                spots,
                tuple(map(int, at)),
                tuple(round(axis) for axis in axes),
                rng.uniform(0, 180),
                0,
                360,
                1.0,
                -1,
            )
        soft = cv2.GaussianBlur(spots, (0, 0), 0.004 * eye.size)[:, :, None]
        if dark:
            light *= 1.0 - soft * np.array([0.25, 0.5, 0.4], dtype=np.float32)
        else:
            light += soft * np.array([0.2, 0.25, 0.1], dtype=np.float32)


def _field_of_view(rng: np.random.Generator, eye: _Eye) -> Array:
    """Draw the field of view: 255 inside a circle, whose top and bottom may be cut off."""
    canvas = np.zeros((eye.size, eye.size), np.uint8)
    cv2.circle(canvas, tuple(int(value) for value in eye.centre), int(eye.radius), 255, -1)
    if rng.random() < 0.4:
        cut = int(rng.uniform(0.03, 0.07) * eye.size + (eye.centre[1] - eye.radius))
        canvas[: max(cut, 0)] = 0
        canvas[eye.size - max(cut, 0) :] = 0
    return canvas


def _photograph(rng: np.random.Generator, light: Array, fov: Array, size: int) -> Array:
    """Simulate the camera: blur, noise, a soft edge, 8 bits."""
    blurred = cv2.GaussianBlur(light, (0, 0), 0.6 * OVERSAMPLING * max(size / 512, 0.6))
    edge = cv2.GaussianBlur(fov, (0, 0), 0.004 * len(fov)).astype(np.float32) / 255
    small = cv2.resize(blurred * (edge * (fov > 0))[:, :, None], (size, size), interpolation=cv2.INTER_AREA)
    grain = rng.normal(size=(size, size, 3)).astype(np.float32) * rng.uniform(0.010, 0.018)
    shared = rng.normal(size=(size, size, 1)).astype(np.float32) * rng.uniform(0.006, 0.012)
    noisy = small + (grain + shared) * (0.15 + 0.85 * np.sqrt(np.clip(small, 0.0, 1.0)))
    return np.asarray(np.clip(noisy, 0.0, 1.0) * 255 + 0.5, dtype=np.uint8)


def _smaller(canvas: Array, size: int) -> Array:
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA))
