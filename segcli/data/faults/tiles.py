"""Tiles that were cut from one picture: where two of them continue each other at an edge.

The last line of a tile is compared with the first line of its neighbour: they must run alike, and differ no more than
neighbouring lines within the tiles do. Lines that run as in most images, such as those of a lamp that is brighter in
the middle, tell nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import cv2
import numpy as np

from segcli.core.types import Array
from segcli.data.faults.reduced import mean_and_deviation

__all__ = ["Edges", "divided_pictures", "edges_of"]

SAMPLES = 64
"""Numbers to which a line is averaged."""
RUN_ALIKE = 0.85
"""Smallest correlation of the lines on both sides of a cut."""
AS_ALIKE = 0.98
"""The correlation, as a share of that between neighbouring lines within the tiles, which noise makes smaller."""
AS_NEAR = 1.5
"""Difference across a cut, as a multiple of that between neighbouring lines within the tiles."""
LEAST_SPREAD = 0.1
"""A line whose deviation is a smaller share of that of its image has nothing to compare."""
COMMON = 0.5
"""Median correlation of a line with those of other images from which it tells nothing."""
ASKED = 64
"""Other images that a line is compared with for this."""
SMALLEST = 64
TOP = 65535
"""Largest number of 16 bits."""
SIDES = ("top", "bottom", "left", "right")
FACING = (("bottom", "top"), ("right", "left"))
BLOCK = 64
"""Tiles that are compared with all others at once, so that memory stays small."""
Place = tuple[str, int]
"""Split and position of an image."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Holds the outermost line and the next one of each side of an image."""

    packed: Array
    """`(4, 2, SAMPLES)` uint16: top, bottom, left and right; the outermost line and the next one. Half the memory of
    float32, and finer than the noise of any camera."""
    low: float
    """Value of 0."""
    step: float
    """Difference of following numbers."""
    lengths: tuple[int, ...]
    """Pixels of each side."""
    has_contrast: tuple[bool, ...]
    """True for each side whose outermost line can be compared."""

    def lines(self, side: int) -> Array:
        """Return the outermost line of a side and the next one, `(2, SAMPLES)` float32."""
        unpacked: Array = self.packed[side] * np.float32(self.step) + np.float32(self.low)
        return unpacked


def edges_of(image: Array) -> Edges | None:
    """Read the edges of a 2D image `(H, W, C)`; None for small images and volumes."""
    if image.ndim != 3 or min(image.shape[:2]) < SMALLEST:
        return None
    height, width = image.shape[:2]
    rows = _averaged(np.stack([image[0], image[1], image[-1], image[-2]]))
    columns = _averaged(np.stack([image[:, 0], image[:, 1], image[:, -1], image[:, -2]]))
    lines = np.concatenate([rows, columns]).reshape(len(SIDES), 2, SAMPLES)
    apart = max(1, min(height, width) // 128)
    _, spread = mean_and_deviation(np.ascontiguousarray(image[::apart, ::apart, image.shape[2] // 2]))
    has_contrast = lines[:, 0].std(axis=1) > max(LEAST_SPREAD * spread, 1e-6)
    low, high = float(lines.min()), float(lines.max())
    step = (high - low) / TOP
    packed = np.rint((lines - low) / (step or 1.0)).astype(np.uint16)
    return Edges(packed, low, step, (width, width, height, height), tuple(has_contrast.tolist()))


def divided_pictures(edges: Mapping[str, Sequence[Edges | None]]) -> Iterator[list[Place]]:
    """Find tiles of one picture that are in different splits, as lists of such tiles."""
    leader: dict[Place, Place] = {}

    def first(place: Place) -> Place:
        while leader.setdefault(place, place) != place:
            place = leader[place]
        return place

    telling = _without_common_lines(edges)
    for split, other_split in permutations(telling, 2):
        for one, other in _continued(telling[split], telling[other_split]):
            leader[first((other_split, other))] = first((split, one))
    pictures: dict[Place, list[Place]] = {}
    for place in sorted(leader):
        pictures.setdefault(first(place), []).append(place)
    yield from pictures.values()


def _without_common_lines(edges: Mapping[str, Sequence[Edges | None]]) -> dict[str, list[Edges | None]]:
    """Mark the lines without contrast that run like those of most images, or like the opposite side of the same one."""
    every = [each for members in edges.values() for each in members]
    telling = {i: list(each.has_contrast) for i, each in enumerate(every) if each is not None}
    for side, facing in (*FACING, *(pair[::-1] for pair in FACING)):
        at, opposite = SIDES.index(side), SIDES.index(facing)
        for found in _by_length(every, at).values():
            lines = _units(_outermost(found, at))
            asked = lines[:: -(-len(lines) // ASKED)]
            alike = np.abs(lines @ asked.T)
            alike[alike > 1 - 1e-6] = np.nan  # the line itself
            across = np.einsum("ij,ij->i", lines, _units(_outermost(found, opposite)))
            for (i, _), usual, turned in zip(found, _medians(alike), across.tolist(), strict=True):
                telling[i][at] &= not usual >= COMMON and turned < RUN_ALIKE
    marked = [None if each is None else replace(each, has_contrast=tuple(telling[i])) for i, each in enumerate(every)]
    places = iter(marked)
    return {split: [next(places) for _ in members] for split, members in edges.items()}


def _continued(ones: Sequence[Edges | None], others: Sequence[Edges | None]) -> Iterator[tuple[int, int]]:
    """Find images whose right or lower edge is continued by the left or upper edge of another."""
    for side, facing in FACING:
        at, opposite = SIDES.index(side), SIDES.index(facing)
        rows, columns = _by_length(ones, at), _by_length(others, opposite)
        for length in rows.keys() & columns.keys():
            there = columns[length]
            theirs = _units(_outermost(there, opposite)).T
            for start in range(0, len(rows[length]), BLOCK):
                here = rows[length][start : start + BLOCK]
                runs = _units(_outermost(here, at)) @ theirs
                for a, b in np.argwhere(runs >= RUN_ALIKE).tolist():
                    if _is_cut(here[a][1].lines(at), there[b][1].lines(opposite)):
                        yield here[a][0], there[b][0]


def _by_length(images: Sequence[Edges | None], at: int) -> dict[int, list[tuple[int, Edges]]]:
    """Sort the images whose line at a side has contrast by its length, with their positions."""
    found: dict[int, list[tuple[int, Edges]]] = {}
    for i, edges in enumerate(images):
        if edges is not None and edges.has_contrast[at]:
            found.setdefault(edges.lengths[at], []).append((i, edges))
    return found


def _outermost(found: Sequence[tuple[int, Edges]], at: int) -> Array:
    """Unpack the outermost line of a side of each image, `(N, SAMPLES)` float32."""
    steps, lows = (
        np.array([[value] for value in values], np.float32)
        for values in zip(*[(e.step, e.low) for _, e in found], strict=True)
    )
    lines: Array = np.stack([edges.packed[at, 0] for _, edges in found]) * steps + lows
    return lines


def _medians(rows: Array) -> list[float]:
    """Compute the median of each row without NaN; -1 for a row with fewer than two numbers."""
    known = np.count_nonzero(~np.isnan(rows), axis=1)
    ordered, at = np.sort(rows, axis=1), np.arange(len(rows))  # NaN comes last
    middle = (ordered[at, np.maximum(known - 1, 0) // 2] + ordered[at, np.minimum(known // 2, rows.shape[1] - 1)]) / 2
    medians: list[float] = np.where(known > 1, middle, -1.0).tolist()
    return medians


def _is_cut(one: Array, other: Array) -> bool:
    across = float(np.abs(one[0] - other[0]).mean())
    within = float(np.abs(one[0] - one[1]).mean() + np.abs(other[0] - other[1]).mean()) / 2
    if across > AS_NEAR * within:
        return False
    outer, inner = _units(np.stack([one[0], other[0]])), _units(np.stack([one[1], other[1]]))
    return float(outer[0] @ outer[1]) >= AS_ALIKE * float((outer * inner).sum(axis=1).min())


def _averaged(lines: Array) -> Array:
    """Average the channels of lines `(L, N, C)`, and their pixels to a fixed number."""
    flat = lines.astype(np.float32) @ np.full(lines.shape[2], 1 / lines.shape[2], np.float32)
    short: Array = cv2.resize(flat, (SAMPLES, len(flat)), interpolation=cv2.INTER_AREA)
    return short


def _units(lines: Array) -> Array:
    rows = lines - lines.mean(axis=1, keepdims=True)
    units: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return units
