"""Count the numbers or colours of all masks of a data set, as many as a few seconds allow."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.classes.colors import RGB
from segcli.data.images import read_image, read_marks
from segcli.planning.clock import Clock
from segcli.planning.looks import colours_of

__all__ = ["Survey", "spread", "survey"]

OBJECTS = 6
"""Masks whose connected parts are counted."""
ONE_PART = 0.9
"""Smallest share of the numbers of a mask of instances that are one connected part each."""
MOST = 4096
"""More different values are no classes; they are not counted on."""


@dataclass
class Survey:
    """Holds what masks store."""

    total: int
    """Masks of the data set."""
    read: int = 0
    values: Counter[int] = field(default_factory=Counter)
    """Pixels of each number."""
    colours: Counter[RGB] = field(default_factory=Counter)
    """Pixels of each colour."""
    lossy: bool = False
    mixed_tops: bool = False
    """True if every mask holds two numbers, but not all the same."""
    most_values: int = 0
    """Most numbers of one mask."""
    instances: bool = False
    """True if the masks number objects, and not classes."""
    broken: list[str] = field(default_factory=list)
    """Messages about masks that cannot be read."""

    @property
    def is_whole(self) -> bool:
        """Tell whether all masks were read."""
        return self.read + len(self.broken) >= self.total

    @property
    def seen(self) -> str:
        """Say how many masks were read, for reasons."""
        return f"all {self.total} masks" if self.is_whole else f"{self.read} of {self.total} masks"


def spread(count: int) -> list[int]:
    """Order positions so that each prefix is spread over the whole: first, last, middle, quarters and so on.

    Example:
        >>> spread(5)
        [0, 4, 2, 1, 3]
    """
    order: dict[int, Any] = dict.fromkeys([0, count - 1]) if count else {}
    step = count - 1
    while len(order) < count and step > 1:
        step = (step + 1) // 2
        order |= dict.fromkeys(range(0, count, step))
    return [*order, *(index for index in range(count) if index not in order)]


def survey(masks: Sequence[Path], *, coloured: bool, clock: Clock) -> Survey:
    """Read masks, spread over the whole data set, until all are read or the time is over."""
    result = Survey(len(masks))
    per_file: list[tuple[int, ...]] = []
    single = []
    for index in spread(len(masks)):
        if clock.over and result.read >= OBJECTS:
            break
        path = masks[index]
        try:
            if coloured:
                colours = _colours(path)
                result.colours.update(colours)
                per_file.append(_levels(colours))
            else:
                marks = read_marks(path)
                result.lossy |= marks.loss is not None
                numbers = marks.spread.view(np.uint8) if marks.spread.dtype == bool else marks.spread
                counts = _counts(numbers)
                result.values.update(counts)
                per_file.append(tuple(sorted(counts)))
                if result.read < OBJECTS:
                    single.append(_share_of_single_parts(numbers, counts))
        except DataError as error:
            result.broken.append(error.message)
            continue
        result.read += 1
    result.most_values = max(map(len, per_file), default=0)
    result.mixed_tops = result.most_values <= 2 and len(result.values) > 2
    result.instances = _are_instances(per_file, [1.0] if coloured else single)
    return result


def _colours(path: Path) -> dict[RGB, int]:
    pixels = read_image(path)
    return colours_of(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels, MOST)


def _levels(colours: dict[RGB, int]) -> tuple[int, ...]:
    """Return the levels of the only channel that differs, if colours are numbers in one channel; else nothing."""
    channels = [tuple(sorted(set(levels))) for levels in zip(*colours, strict=True)]
    varying = [levels for levels in channels if len(levels) > 1]
    return varying[0] if len(varying) == 1 and len(varying[0]) == len(colours) else ()


def _counts(numbers: Array) -> dict[int, int]:
    if numbers.dtype in (np.uint8, np.uint16):
        counts = np.bincount(numbers.ravel())
        return {int(value): int(counts[value]) for value in np.nonzero(counts)[0][:MOST]}
    values, found = np.unique(numbers, return_counts=True)
    return dict(zip(values[:MOST].tolist(), found[:MOST].tolist(), strict=True))


def _share_of_single_parts(numbers: Array, counts: dict[int, int]) -> float:
    """Compute the share of the numbers, without 0, whose pixels are one connected part; NaN of fewer than two."""
    others = [value for value in counts if value]
    if len(others) < 2:
        return float("nan")
    parts = 0
    for value in others[:40]:
        parts += cv2.connectedComponents((numbers == value).astype(np.uint8), connectivity=8)[0] == 2
    return parts / len(others[:40])


def _are_instances(per_file: list[tuple[int, ...]], single: list[float]) -> bool:
    """Tell whether masks number objects: from 1 without gaps, differently many, each number one connected part."""
    counts = {len(values) for values in per_file}
    gapless = [values[-1] - values[0] == len(values) - 1 for values in per_file if len(values) > 1]
    shares = [share for share in single if not math.isnan(share)]
    if len(counts) < 2 or max(counts) < 8 or not gapless or not shares:
        return False
    return float(np.mean(gapless)) >= ONE_PART and float(np.mean(shares)) >= ONE_PART
