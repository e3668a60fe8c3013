"""Tiles that were cut from one picture: where two of them continue each other at an edge.

The last line of a tile is compared with the first line of its neighbour: they must run alike, and differ no more than
neighbouring lines within the tiles do. Lines that run as in most images, such as those of a lamp that is brighter in
the middle, tell nothing.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import cv2
import numpy as np

from segcli.core.spilled import Spilled
from segcli.core.types import Array
from segcli.data.faults.reduced import mean_and_deviation

__all__ = ["Edges", "KeptEdges", "divided_pictures", "edges_of"]

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
BLOCK, OTHERS = 128, 1024
"""Tiles that are compared at once with so many others, so that memory stays small."""
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


class KeptEdges:
    """Keeps the edges of many images in the order in which they are added: their lines in a temporary file.

    Args:
        edges: The first edges; None for images without any.
    """

    def __init__(self, edges: Iterable[Edges | None] = ()) -> None:
        self._lines = Spilled((len(SIDES), 2, SAMPLES), np.uint16)
        self._rows, self._scales = array("i"), array("d")
        self._lengths, self._contrast = array("i"), array("b")
        for each in edges:
            self.add(each)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._rows)

    def add(self, edges: Edges | None) -> None:
        """Keep the edges of the next image.

        Raises:
            DataError: The disk is full.
        """
        self._rows.append(-1 if edges is None else len(self._lines))
        self._scales.extend((0.0, 0.0) if edges is None else (edges.low, edges.step))
        self._lengths.extend((0,) * len(SIDES) if edges is None else edges.lengths)
        self._contrast.extend((False,) * len(SIDES) if edges is None else edges.has_contrast)
        if edges is not None:
            self._lines.add(edges.packed)

    @property
    def lengths(self) -> Array:
        """Return the pixels of each side, `(N, 4)`."""
        return np.array(self._lengths, np.int32).reshape(-1, len(SIDES))

    @property
    def has_contrast(self) -> Array:
        """Tell which sides can be compared, `(N, 4)`; those of images without edges cannot."""
        return np.array(self._contrast, bool).reshape(-1, len(SIDES))

    def lines(self, images: Array, side: int) -> Array:
        """Read the outermost line of a side of some images and the next one, `(N, 2, SAMPLES)` float32."""
        packed = self._lines.rows([self._rows[i] for i in images])[:, side]
        low, step = (np.array([self._scales[2 * i + which] for i in images], np.float32) for which in (0, 1))
        unpacked: Array = packed * step[:, None, None] + low[:, None, None]
        return unpacked

    def close(self) -> None:
        """Free memory and disk."""
        self._lines.close()


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


def divided_pictures(edges: KeptEdges, splits: Mapping[str, Sequence[int]]) -> Iterator[list[Place]]:
    """Find tiles of one picture that are in different splits, as lists of such tiles.

    Args:
        edges: Edges of all images.
        splits: Positions of the images of each split that are compared.
    """
    leader: dict[Place, Place] = {}

    def first(place: Place) -> Place:
        while leader.setdefault(place, place) != place:
            place = leader[place]
        return place

    members = {split: np.array(positions, np.int64) for split, positions in splits.items()}
    lengths = edges.lengths
    telling = _without_common_lines(edges, np.concatenate([*members.values(), np.empty(0, np.int64)]), lengths)
    for split, other_split in permutations(members, 2):
        for one, other in _continued(edges, members[split], members[other_split], np.where(telling, lengths, 0)):
            leader[first((other_split, other))] = first((split, one))
    pictures: dict[Place, list[Place]] = {}
    for place in sorted(leader):
        pictures.setdefault(first(place), []).append(place)
    yield from pictures.values()


def _without_common_lines(edges: KeptEdges, every: Array, lengths: Array) -> Array:
    """Tell which sides `(N, 4)` have a line with contrast that does not run like most others, nor like the opposite."""
    telling = edges.has_contrast
    given = np.where(telling, lengths, 0)
    for side, facing in (*FACING, *(pair[::-1] for pair in FACING)):
        at, opposite = SIDES.index(side), SIDES.index(facing)
        for found in _by_length(every, given[:, at]).values():
            asked = _units(edges.lines(found[:: -(-len(found) // ASKED)], at)[:, 0])
            for here in _blocks(found, BLOCK):
                lines = _units(edges.lines(here, at)[:, 0])
                own = (lines * _units(edges.lines(here, opposite)[:, 0])).sum(axis=1)
                telling[here, at] &= ~_is_common(np.abs(lines @ asked.T)) & (own < RUN_ALIKE)
    return telling


def _is_common(alike: Array) -> Array:
    """Tell which lines run like most others, by their correlations `(N, others)`; itself does not count."""
    alike[alike > 1 - 1e-6] = np.nan
    alike.sort(axis=1)  # puts NaN last
    counts = np.count_nonzero(~np.isnan(alike), axis=1)
    known, rows = np.maximum(counts, 1), np.arange(len(alike))
    median = (alike[rows, (known - 1) // 2] + alike[rows, known // 2]) / 2
    common: Array = (counts > 1) & (median >= COMMON)
    return common


def _continued(edges: KeptEdges, ones: Array, others: Array, lengths: Array) -> Iterator[tuple[int, int]]:
    """Find images whose right or lower edge is continued by the left or upper edge of another.

    Args:
        edges: Edges of all images.
        ones: Positions of the images of a split.
        others: Those of another split.
        lengths: Pixels of each side of all images `(N, 4)`; 0 for those that are not compared.
    """
    for side, facing in FACING:
        at, opposite = SIDES.index(side), SIDES.index(facing)
        rows, columns = _by_length(ones, lengths[:, at]), _by_length(others, lengths[:, opposite])
        for length in rows.keys() & columns.keys():
            for there in _blocks(columns[length], OTHERS):
                theirs = _units(edges.lines(there, opposite)[:, 0]).T
                for here in _blocks(rows[length], BLOCK):
                    lines = edges.lines(here, at)
                    for a, b in np.argwhere(_units(lines[:, 0]) @ theirs >= RUN_ALIKE).tolist():
                        if _is_cut(lines[a], edges.lines(there[b : b + 1], opposite)[0]):
                            yield int(here[a]), int(there[b])


def _blocks(positions: Array, size: int) -> Iterator[Array]:
    return (positions[start : start + size] for start in range(0, len(positions), size))


def _by_length(positions: Array, lengths: Array) -> dict[int, Array]:
    """Sort the positions of images by the length of their line; those with 0 are left out."""
    own = lengths[positions]
    return {length: positions[own == length] for length in np.unique(own[own > 0]).tolist()}


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
