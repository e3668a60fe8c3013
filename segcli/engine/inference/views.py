"""Views of an image for test-time augmentation: turns and flips."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

__all__ = ["STRAIGHT", "View", "views_of"]


@dataclass(frozen=True)
class View:
    """Describes a turn of an image, followed by flips."""

    turns: int = 0
    """Quarter turns in the plane of the last two axes."""
    flips: tuple[int, ...] = ()
    """Axes that are reversed after the turn, counted from the end."""


STRAIGHT = View()
"""View without turns or flips."""


def views_of(ndim: int, tta: bool | Literal["horizontal"]) -> tuple[View, ...]:
    """List the views of an image whose outputs are averaged.

    With `tta: true`, a 2D image has eight views, by flips and quarter turns; a volume has the eight flips, because its
    axes may differ.
    """
    if not tta:
        return (STRAIGHT,)
    if tta == "horizontal":
        return (STRAIGHT, View(flips=(-1,)))
    if ndim == 2:
        return tuple(View(turns, flips) for turns in range(4) for flips in ((), (-1,)))
    axes = range(-ndim, 0)
    return tuple(View(flips=flips) for count in range(ndim + 1) for flips in combinations(axes, count))
