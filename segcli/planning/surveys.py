"""Count the numbers or colours of all masks of a data set, as many as a few seconds allow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.classes.colors import RGB
from segcli.data.images import read_image, read_marks
from segcli.planning.clock import Clock
from segcli.planning.numbered import Numbering, counted, number_objects

__all__ = ["Survey", "spread", "survey"]

OBJECTS = 6
"""Masks whose connected parts are counted."""
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
    perhaps: bool = False
    """True if only the order of the numbers speaks for objects."""
    between: set[int] = field(default_factory=set)
    """Numbers, or packed colours, that occur only along outlines, between lower and higher ones."""
    between_share: float = 0.0
    """Share of the pixels that have one of these."""
    border: float = 0.0
    """Share of the border of the pictures that is not 0."""
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
    levels: list[tuple[int, ...]] = []
    numbering = Numbering()
    for index in spread(len(masks)):
        if clock.over and result.read >= OBJECTS:
            break
        path = masks[index]
        try:
            if coloured:
                packed = _packed(path)
                numbers, counts = packed, _counts(packed)
                result.colours.update({unpacked(value): count for value, count in counts.items()})
                levels.append(_levels(tuple(map(unpacked, counts))))
            else:
                marks = read_marks(path)
                result.lossy |= marks.loss is not None
                numbers = marks.spread.view(np.uint8) if marks.spread.dtype == bool else marks.spread
                counts = _counts(numbers)
                result.values.update(counts)
            per_file.append(tuple(sorted(counts)))
            if result.read < OBJECTS:
                numbering.add(numbers, per_file[-1])
        except DataError as error:
            result.broken.append(error.message)
            continue
        result.read += 1
    result.most_values = max(map(len, per_file), default=0)
    result.mixed_tops = result.most_values <= 2 and len(result.values) > 2
    ordered = number_objects(per_file, numbering, coloured=coloured)
    if coloured and any(levels) and not ordered.objects:
        ordered = number_objects(levels, Numbering([1.0]))
    result.instances, result.perhaps = ordered.objects and not ordered.is_guess, ordered.is_guess
    result.between = numbering.between()
    result.border = float(np.mean(numbering.border or [0.0]))
    few = sum(numbering.pixels[value] for value in result.between)
    result.between_share = few / max(numbering.pixels.total(), 1)
    return result


def _packed(path: Path) -> Array:
    """Read a mask of colours as one number for each colour."""
    pixels = read_image(path).astype(np.int32)
    red, green, blue = (pixels[..., min(channel, pixels.shape[2] - 1)] for channel in range(3))
    return red << 16 | green << 8 | blue


def unpacked(value: int) -> RGB:
    """Return the colour of a packed number."""
    return value >> 16, value >> 8 & 255, value & 255


def _levels(colours: Sequence[RGB]) -> tuple[int, ...]:
    """Return the levels of the only channel that differs, if colours are numbers in one channel; else nothing."""
    channels = [tuple(sorted(set(levels))) for levels in zip(*colours, strict=True)]
    varying = [levels for levels in channels if len(levels) > 1]
    return varying[0] if len(varying) == 1 and len(varying[0]) == len(colours) else ()


def _counts(numbers: Array) -> dict[int, int]:
    return dict(islice(counted(numbers).items(), MOST))
