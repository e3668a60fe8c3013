"""Ways to look at an image: turned and flipped."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

__all__ = ["STRAIGHT", "View", "views_of"]


@dataclass(frozen=True)
class View:
    """A turn of an image, followed by flips."""

    turns: int = 0
    """Quarter turns in the plane of the last two axes."""
    flips: tuple[int, ...] = ()
    """Axes that are reversed after the turn, counted from the end."""


STRAIGHT = View()
"""The image as it is."""


def views_of(ndim: int, tta: bool | Literal["horizontal"]) -> tuple[View, ...]:
    """List the views of an image whose outputs are averaged.

    All are the eight flips and quarter turns of a 2D image, or the eight flips of a volume, whose axes may differ.
    """
    if not tta:
        return (STRAIGHT,)
    if tta == "horizontal":
        return (STRAIGHT, View(flips=(-1,)))
    if ndim == 2:
        return tuple(View(turns, flips) for turns in range(4) for flips in ((), (-1,)))
    axes = range(-ndim, 0)
    return tuple(View(flips=flips) for count in range(ndim + 1) for flips in combinations(axes, count))
