"""Views of an image for test-time augmentation: turns and flips."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

__all__ = ["STRAIGHT", "View", "looks_at", "views_of"]


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


def looks_at(ndim: int, tta: bool | Literal["horizontal"], scales: Sequence[float]) -> str | None:
    """Tell how often the network sees each image, and at what cost; None if it sees it once, at its own size.

    Example:
        >>> looks_at(2, "horizontal", [0.5, 1.0])
        'the network sees each image in 2 views (`inference.tta`) at 2 sizes (`inference.scales`): 2.5 times the work \
of `--no-tta`'
    """
    views, sizes = len(views_of(ndim, tta)), len(scales)
    seen = [f"in {views} views (`inference.tta`)"] if views > 1 else []
    if list(scales) != [1.0]:
        seen.append(f"at {sizes} size{'s' if sizes > 1 else ''} (`inference.scales`)")
    if not seen:
        return None
    pixels = views * sum(scale**ndim for scale in scales)
    return f"the network sees each image {' '.join(seen)}: {pixels:.3g} times the work of `--no-tta`"
