"""Colours of mistakes in pictures, and how far colours look apart."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from segcli.data.classes.colors import RGB

__all__ = ["FAR", "MISTAKES", "MistakeColors", "difference", "mistake_colors"]

FAR = 25.0
"""Distance in CIELAB from which two colours are never taken for each other, side by side or not."""


class MistakeColors(NamedTuple):
    """Colours of true positives, false negatives and false positives."""

    right: RGB
    missed: RGB
    false: RGB


MISTAKES = MistakeColors(right=(140, 220, 150), missed=(220, 40, 30), false=(60, 120, 255))
"""Green, red and blue; they also differ in brightness, for eyes that do not tell red from green."""
OTHERS = (
    MistakeColors(right=(255, 235, 0), missed=(230, 0, 160), false=(0, 190, 255)),
    MistakeColors(right=(255, 255, 255), missed=(255, 140, 0), false=(150, 90, 255)),
)
"""Colours for data sets whose own colours look like `MISTAKES`."""


def difference(one: RGB, other: RGB) -> float:
    """Compute the distance of two colours in CIELAB.

    Example:
        >>> round(difference((0, 0, 0), (255, 255, 255))), round(difference((255, 0, 0), (250, 0, 0)))
        (100, 2)
    """
    pixels = np.array([[one, other]], np.float32) / 255
    first, second = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]
    return float(np.linalg.norm(first - second))


def mistake_colors(classes: Sequence[RGB], *, exclusive: bool) -> MistakeColors:
    """Choose colours of mistakes that no class has: `MISTAKES`, unless a class looks like one of them.

    Args:
        classes: Colour of each class.
        exclusive: True if classes exclude each other; then only `missed` is drawn.
    """

    def apart(colors: MistakeColors) -> float:
        drawn = (colors.missed,) if exclusive else colors
        return min((difference(color, own) for color in drawn for own in classes), default=FAR)

    return next((colors for colors in (MISTAKES, *OTHERS) if apart(colors) >= FAR), max((MISTAKES, *OTHERS), key=apart))
