"""Tell masks that number single objects from masks of classes, and classes from the numbers that smoothing leaves."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from scipy import ndimage

from segcli.core.types import Array

__all__ = ["MANY", "Numbering", "Ordered", "counted", "number_objects", "single_parts"]

COUNTED = 40
"""Numbers of a mask whose parts are counted."""
ONE_PART = 0.9
"""Smallest share of the numbers of a mask of objects that are one connected part each."""
MANY = 8
"""Numbers of a mask, with 0, from which counting without gaps means objects."""
STRANGE = 12
"""Different numbers of all masks from which numbers that seldom recur mean objects."""
RECURS = 1.5
"""Masks that hold a number, on average, if the numbers are of objects that occur once."""
HIGHEST_CLASS = 255
"""Numbers above it are seldom those of classes."""
BY_CHANCE = math.log(1000)
"""Logarithm of the odds against numbers that rise from top to bottom by chance."""
LARGE = 1_000_000
"""Pixels of a mask above which some are left out where parts are counted."""
MIDDLE = 1024
"""Side of the part of a large mask whose outlines are looked at."""
RAMP = 0.8
"""Smallest share of the pixels of a number that lie between lower and higher ones if smoothing has left it."""


@dataclass
class Ordered:
    """Tells how sure masks number objects: `certain` by their counts, `guess` by the order of their numbers alone."""

    objects: bool = False
    is_guess: bool = False


@dataclass
class Numbering:
    """Collects how the numbers or colours of some masks lie in the plane."""

    single: list[float] = field(default_factory=list)
    """For each mask, the share of its numbers that are one connected part each."""
    odds: float = 0.0
    """Logarithm of the odds against an order by chance; -inf if numbers of a mask do not rise from top to bottom."""
    pixels: Counter[int] = field(default_factory=Counter)
    ramps: Counter[int] = field(default_factory=Counter)
    """Pixels of each number that have both a lower and a higher neighbour."""
    border: list[float] = field(default_factory=list)
    """For each mask, the share of the picture's border that is not 0."""

    def add(self, codes: Array, values: Sequence[int]) -> None:
        """Add a mask `(H, W)` that holds these numbers."""
        others = [value for value in values if value]
        edge = np.concatenate([codes[0], codes[-1], codes[:, 0], codes[:, -1]])
        self.border.append(float((edge != 0).mean()))
        if len(others) < 2:
            return
        self._add_outlines(_middle(codes))
        step = math.ceil(math.sqrt(codes.size / LARGE))
        small = codes[::step, ::step]
        firsts, parts = [], 0
        for value in others[:COUNTED]:
            here = small == value
            parts += cv2.connectedComponents(here.astype(np.uint8), connectivity=8)[0] <= 2
            firsts.append(int(here.argmax()) // small.shape[1])
        self.single.append(parts / len(firsts))
        rises = all(below >= above - 1 for above, below in pairwise(firsts))  # OpenCV numbers two rows at a time
        self.odds += math.lgamma(len(firsts) + 1) if rises else -math.inf

    def _add_outlines(self, codes: Array) -> None:
        exact = codes if codes.dtype in (np.uint8, np.uint16) else codes.astype(np.float32)
        kernel = np.ones((3, 3), np.uint8)
        high, low = cv2.dilate(exact, kernel), cv2.erode(exact, kernel)
        self.pixels.update(counted(codes))
        self.ramps.update(counted(codes[(low < exact) & (exact < high)]))

    def between(self) -> set[int]:
        """Return the numbers that lie only along outlines, between lower and higher ones, as smoothing leaves them."""
        return {value for value, count in self.pixels.items() if self.ramps[value] >= RAMP * count}


def _middle(codes: Array) -> Array:
    """Cut the middle out of a large mask."""
    rows, columns = (slice((have - min(have, MIDDLE)) // 2, (have + min(have, MIDDLE)) // 2) for have in codes.shape)
    return codes[rows, columns]


def counted(numbers: Array) -> dict[int, int]:
    """Count the pixels of each number, in order of the numbers."""
    if numbers.dtype in (np.uint8, np.uint16):
        counts = np.bincount(numbers.ravel())
        return {int(value): int(counts[value]) for value in np.nonzero(counts)[0]}
    values, found = np.unique(numbers, return_counts=True)
    return dict(zip(values.tolist(), found.tolist(), strict=True))


def single_parts(labels: Array) -> float:
    """Compute the share of the numbers of a label map, without 0, that are one connected part each."""
    boxes = [(number, box) for number, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None]
    whole = np.ones((3,) * labels.ndim)
    parts = [ndimage.label(labels[box] == number, whole)[1] for number, box in boxes[:COUNTED]]
    return float(np.mean([count == 1 for count in parts])) if parts else 0.0


def number_objects(per_file: Sequence[tuple[int, ...]], numbering: Numbering, *, coloured: bool = False) -> Ordered:
    """Tell whether masks number objects: differently many, each number one connected part, and one of these holds.

    The numbers count from 1 without gaps; or they seldom recur in other masks; or they are too high for classes. Few
    numbers without gaps may be objects if they rise from top to bottom, as programs number them.

    Args:
        per_file: Numbers of each mask, in order.
        numbering: How those of some masks lie.
        coloured: Tells that the numbers are packed colours, whose height means nothing.
    """
    several = [tuple(value for value in values if value) for values in per_file if len(values) > 1]
    counts = {len(values) for values in per_file}
    if len(counts) < 2 or not numbering.single or float(np.mean(numbering.single)) < ONE_PART:
        return Ordered()
    every = {value for values in several for value in values}
    gapless = [values[-1] - values[0] == len(values) - 1 for values in per_file if len(values) > 1]
    counted = float(np.mean(gapless)) >= ONE_PART
    seldom = (
        len(several) > 3
        and float(np.median([len(values) for values in several])) >= 3
        and len(every) >= STRANGE
        and sum(map(len, several)) <= RECURS * len(every)
    )
    if max(counts) >= MANY and (counted or (max(every) > HIGHEST_CLASS and not coloured)):
        return Ordered(objects=True)
    if seldom:
        return Ordered(objects=True)
    ordered = counted and numbering.odds >= BY_CHANCE and all(values[0] == 1 for values in several)
    return Ordered(objects=ordered, is_guess=ordered)
