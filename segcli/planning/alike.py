"""Compare several masks of the same images: do they show the same, as those of several observers do?"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.types import Array

__all__ = ["SAME", "are_alike", "overlap"]

SAME = 0.5
"""Masks that overlap more, by Dice, show the same: of two observers, or of instances and their union."""
LOOKED = 3
"""Images whose masks are compared, and kinds of masks that are compared with the first."""


def are_alike(masks: Sequence[Mapping[str, Path]], foreground: Callable[[Path], Array]) -> bool:
    """Tell whether kinds of masks show the same; masks that cannot be compared do.

    Args:
        masks: Masks of each kind by the name of their image.
        foreground: Reads where a mask is foreground.
    """
    first, *others = masks
    for other in others[:LOOKED]:
        common = [name for name in first if name in other]
        scores = []
        for name in common[:: max(len(common) // LOOKED, 1)][:LOOKED]:
            with suppress(DataError):  # masks of colours
                scores.append(overlap(foreground(first[name]), foreground(other[name])))
        if scores and sum(scores) < SAME * len(scores):
            return False
    return True


def overlap(first: Array, second: Array) -> float:
    """Compute the Dice of two masks; 0 where their sizes differ."""
    if first.shape != second.shape:
        return 0.0
    return 2.0 * float((first & second).sum()) / max(int(first.sum() + second.sum()), 1)
