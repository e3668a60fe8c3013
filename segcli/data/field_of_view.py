"""Field of view of a photograph: the disc that the camera saw, read from a mask or estimated from its dark border."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array, Mask
from segcli.data.images import Headers, read_marks
from segcli.data.samples import as_unit, interpolated
from segcli.files import open_picture

__all__ = ["Field", "estimated", "field_of_mask", "read_field"]

SIDE = 1024
"""The field is estimated on a picture whose longer side has at most this many pixels."""
STEP = 2048
"""Side length of the parts in which an image is read, before rounding to whole blocks."""
EDGE = 0.2
"""Brightness at the edge of the field, between that of the outside (0) and of the inside (1)."""
CONTRAST = 0.4
"""Largest brightness outside, as a share of the brightness inside."""
SHARES = (0.2, 0.995)
"""Smallest and largest share of the picture that a field covers."""
SOLID = 0.9
"""Smallest share of the convex shape that is bright."""
MARGIN = 0.02
"""Width of the sides of the bounding box whose outline is not compared with a circle, as a share of the longer side."""
SMALLEST_ARC = 0.14
"""Smallest share of the outline that is compared."""
ROUND = 0.04
"""Largest distance of the outline from the circle, in radii."""


class Field(ABC):
    """Tells which pixels of an image lie in the field of view."""

    size: tuple[int, ...]
    """Height and width of the image."""
    top: int | None = None
    """Largest number of the mask that holds the field; None for one bit per pixel, and without a mask."""

    @abstractmethod
    def rows(self, rows: slice) -> Mask:
        """Return the pixels inside of some rows, `(rows, W)`."""

    @property
    def inside(self) -> Mask:
        """Return all pixels inside, `(H, W)`."""
        return self.rows(slice(0, self.size[0]))


@dataclass(frozen=True)
class _Painted(Field):
    """Holds the field of a mask file."""

    size: tuple[int, ...]
    packed: Array
    """One bit per pixel, `(H, W / 8)` uint8."""
    top: int | None = None
    """Largest number of the mask; None for one bit per pixel."""

    def rows(self, rows: slice) -> Mask:
        """Unpack the bits of some rows."""
        inside: Mask = np.unpackbits(self.packed[rows], axis=1, count=self.size[1]).view(bool)
        return inside


@dataclass(frozen=True)
class _Estimated(Field):
    """Holds a field that was estimated on a reduced picture."""

    size: tuple[int, ...]
    reduced: Mask
    """Field of the reduced picture."""
    step: int
    """Side length of the block of pixels that one pixel of the reduced picture stands for."""

    def rows(self, rows: slice) -> Mask:
        """Enlarge some rows; the outline is interpolated."""
        height, width = self.reduced.shape
        at = np.clip((np.arange(rows.start, rows.stop) + 0.5) / self.step - 0.5, 0.0, height - 1.0)
        below = at.astype(np.intp)
        first, last = below[0], min(below[-1] + 2, height)
        near = interpolated(self.reduced[first:last].astype(np.float32), (last - first, width * self.step))
        near = near[:, : self.size[1]]
        share = (at - below).astype(np.float32)[:, None]
        above = np.minimum(below + 1, height - 1)
        inside: Mask = near[below - first] * (1 - share) + near[above - first] * share >= 0.5
        return inside


def read_field(path: Path, page: int | None = None, headers: Headers | None = None) -> Field:
    """Read a field of view from a mask; a mask of grey values is cut at middle grey.

    Args:
        path: The mask.
        page: Page to read of a file of several pages, counted from 0.
        headers: Receives the header of the file.

    Raises:
        DataError: The file is unreadable, or marks no pixel.
    """
    return _painted(_strips(path, page, headers), str(path))


def field_of_mask(mask: Array, name: str) -> Field:
    """Take a field of view from a mask in memory, `(H, W)`, as `read_field` does from a file.

    Raises:
        DataError: The mask is no array of numbers `(H, W)`, or marks no pixel.
    """
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise DataError(
            f"field-of-view mask `{name}` is {mask.dtype} of shape {mask.shape}, but it must be whole numbers (H, W)",
            hint="mark the pixels of the field with True, 1 or 255",
        )
    return _painted([mask], name)


def _painted(strips: Iterable[Array], name: str) -> "_Painted":
    packed: list[tuple[int, Array]] = []
    width, is_bilevel = 0, False
    for strip in strips:
        width, is_bilevel, own_top = strip.shape[1], strip.dtype == bool, int(strip.max(initial=0))
        packed.append((own_top, np.packbits(strip if is_bilevel else strip > (127 if own_top > 1 else 0), axis=1)))
    top = max((own_top for own_top, _ in packed), default=0)
    # a strip of 0 and 1 is dark where other strips hold larger numbers
    bits = np.concatenate([part * (own_top > 1 or top <= 1) for own_top, part in packed])
    if not bits.any():
        raise DataError(
            f"field-of-view mask `{name}` is empty: it marks no pixel as inside",
            hint="mark the pixels of the field with 1 or 255, or remove the mask",
        )
    return _Painted((len(bits), width), bits, None if is_bilevel else top)


def _strips(path: Path, page: int | None, headers: Headers | None) -> Iterator[Array]:
    """Read a mask as a whole or, if it is large, row by row of tiles, each `(h, W)`."""
    with open_picture(path, 2, page) as picture:
        if picture.is_large and not picture.white_is_zero:
            picture.prepare(None)
            height, width = picture.size
            for top in range(0, height, STEP):
                yield picture.read((slice(top, min(top + STEP, height)), slice(0, width)))[:, :, 0]
            return
    yield read_marks(path, page, headers).spread


def estimated(size: tuple[int, ...], read: Callable[[tuple[slice, ...]], Array]) -> Field | None:
    """Estimate the field of view of a photograph with a dark border.

    The brightest channel is reduced, smoothed and thresholded at a small share of its range; the largest component is
    closed to a convex shape. It must be nearly a disc, which the frame may cut at its sides.

    Args:
        size: Height and width.
        read: Reads pixels `(*window, C)` as stored.

    Returns:
        The field, or None if the picture shows no such shape on a dark border.
    """
    step = max(math.ceil(max(size) / SIDE), 1)
    reduced = _shape(_reduced(size, read, step))
    return None if reduced is None else _Estimated(size, reduced, step)


def _reduced(size: tuple[int, ...], read: Callable[[tuple[slice, ...]], Array], step: int) -> Array:
    """Average blocks of `step` pixels, reading part by part; return the brightest channel, `(h, w)` float32."""
    part = max(STEP // step, 1) * step
    height, width = size
    return np.concatenate(
        [
            np.concatenate(
                [
                    _blocks(read((slice(top, min(top + part, height)), slice(left, min(left + part, width)))), step)
                    for left in range(0, width, part)
                ],
                axis=1,
            )
            for top in range(0, height, part)
        ]
    )


def _blocks(pixels: Array, step: int) -> Array:
    unit = as_unit(pixels)
    for axis in (0, 1):
        starts = np.arange(0, unit.shape[axis], step)
        counts = np.diff(np.append(starts, unit.shape[axis])).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        unit = np.add.reduceat(unit, starts, axis=axis) / counts.astype(np.float32)
    brightest: Array = unit.max(axis=2)
    return brightest


def _shape(bright: Array) -> Mask | None:
    """Find the bright convex shape on a dark border; None if there is none that looks like a field of view."""
    blur = max(max(bright.shape) / 500, 0.8)
    smooth = cv2.GaussianBlur(bright, (0, 0), blur)
    low = float(np.percentile(smooth, 0.5))
    high = float(np.median(smooth[smooth >= (low + smooth.mean()) / 2]))
    hull = _hull((smooth > low + EDGE * (high - low)).astype(np.uint8))
    if hull is None or not SHARES[0] <= hull.mean() <= SHARES[1] or not _is_disc(hull):
        return None
    # without the glow of the edge and its blur, which networks take for a vessel
    field: Mask = cv2.erode(hull, _disc(round(blur))) > 0
    return field if np.median(smooth[~field]) <= CONTRAST * np.median(smooth[field]) else None


def _hull(mask: Array) -> Array | None:
    """Close the largest component to a convex shape, without thin parts; None if that changes it much."""
    radius = max(round(max(mask.shape) / 100), 1)
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(radius))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    outline = cv2.convexHull(max(contours, key=cv2.contourArea))
    hull: Array = cv2.fillConvexPoly(np.zeros_like(opened), outline, 1)
    return hull if opened[hull > 0].mean() >= SOLID else None


def _disc(radius: int) -> Array:
    disc: Array = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return disc


def _is_disc(field: Array) -> bool:
    """Tell whether the outline is a circle, except where the sides of its bounding box cut it straight."""
    left, top, width, height = cv2.boundingRect(field)
    contours, _ = cv2.findContours(field, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    x, y = contours[0][:, 0].T.astype(float)
    margin = MARGIN * max(width, height)
    free = (np.minimum(x - left, left + width - 1 - x) > margin) & (np.minimum(y - top, top + height - 1 - y) > margin)
    if free.mean() < SMALLEST_ARC:
        return False
    x, y = x[free], y[free]
    # algebraic fit of a circle: x² + y² = 2ax + 2by + c
    (a, b, c), *_ = np.linalg.lstsq(np.stack([2 * x, 2 * y, np.ones_like(x)], axis=1), x**2 + y**2, rcond=None)
    radius = math.sqrt(max(c + a**2 + b**2, 0.0))
    apart = np.abs(np.hypot(x - a, y - b) - radius)
    return bool(np.percentile(apart, 95) <= ROUND * radius)
