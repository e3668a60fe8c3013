"""Predictions in colours on their image, with a legend."""

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from segcli.core.types import Array, Mask
from segcli.data.classes.colors import RGB
from segcli.data.images import as_rgb

__all__ = ["FALSE", "FOREGROUND", "FOUND", "MISSED", "compared", "legend_below", "overlay"]

FOREGROUND: RGB = (0, 255, 120)
"""Colour of a single mask on its image."""
FOUND, MISSED, FALSE = (60, 200, 90), (255, 70, 70), (70, 130, 255)
"""Colours of true positives, false negatives and false positives."""
ROW, MARGIN = 22, 8
"""Height of a line of the legend and margin around its words, in pixels."""
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


def overlay(image: Array, painted: Array, shown: Mask, alpha: float = 0.45) -> Array:
    """Tint the image and outline each region, `(H, W, C), (H, W, 3), (H, W) -> (H, W, 3)` uint8.

    Args:
        image: The image.
        painted: Colour of the class of each pixel.
        shown: Mask of the pixels to tint.
        alpha: Opacity of the colour.
    """
    picture = as_rgb(image)
    picture[shown] = ((1 - alpha) * picture[shown] + alpha * painted[shown]).astype(np.uint8)
    edge = _outlines(np.where(shown[:, :, None], painted, 0), max(1, min(shown.shape) // 700)) & shown
    picture[edge] = painted[edge]
    return picture


def compared(image: Array, right: Mask, missed: Mask, false: Mask) -> Array:
    """Darken the image and colour true and false positives and false negatives, `(H, W, C) -> (H, W, 3)` uint8.

    Args:
        image: The image.
        right: True positives, green; each mask is `(H, W)`.
        missed: False negatives, red; drawn over `right`.
        false: False positives, blue; drawn over both.
    """
    picture = as_rgb(image) // 2
    picture[right], picture[missed], picture[false] = FOUND, MISSED, FALSE
    return picture


def _outlines(colours: Array, width: int) -> Mask:
    """Find pixels next to a pixel of another colour."""
    packed = (colours.astype(np.float32) * (1.0, 256.0, 65536.0)).sum(axis=2, dtype=np.float32)
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(packed, kernel, iterations=width) != cv2.erode(packed, kernel, iterations=width)
    return np.asarray(edge)


def legend_below(picture: Array, names: Sequence[str], colors: Sequence[RGB]) -> Array:
    """Add a white strip below the picture with the colour and the name of each class."""
    width = picture.shape[1]
    places: list[tuple[int, int, str, RGB]] = []
    x, y = MARGIN, 0
    for name, color in zip(map(_in_ascii, names), colors, strict=True):
        (text_width, _), _ = cv2.getTextSize(name, FONT, FONT_SCALE, 1)
        needed = ROW + text_width + 2 * MARGIN
        if x > MARGIN and x + needed > width:
            x, y = MARGIN, y + ROW
        places.append((x, y, name, color))
        x += needed
    strip = np.full((y + ROW + 2 * MARGIN, width, 3), 255, np.uint8)
    for left, top, name, color in places:
        square = (left, top + MARGIN + 3), (left + ROW - 8, top + MARGIN + ROW - 5)
        cv2.rectangle(strip, *square, color, cv2.FILLED)
        cv2.rectangle(strip, *square, (90, 90, 90), 1)
        cv2.putText(strip, name, (left + ROW, top + MARGIN + ROW - 7), FONT, FONT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([picture, strip])


def _in_ascii(text: str) -> str:
    """Reduce text to the letters of OpenCV's font; accents are dropped."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return plain.encode("ascii", "ignore").decode() or "?"
