"""Predictions and mistakes in colours on their image."""

import cv2
import numpy as np

from segcli.core.types import Array, Mask
from segcli.data.classes.colors import RGB
from segcli.data.classes.mistakes import MISTAKES, MistakeColors

__all__ = ["FOREGROUND", "compared", "overlay"]

FOREGROUND: RGB = (0, 220, 255)
"""Colour of a single mask on its image; it stands out on red, orange and grey."""


def overlay(image: Array, painted: Array, shown: Mask, alpha: float = 0.45) -> Array:
    """Tint the image and outline each region, `(H, W, 3), (H, W, 3), (H, W) -> (H, W, 3)` uint8.

    Args:
        image: The image as `as_rgb` shows it.
        painted: Colour of the class of each pixel.
        shown: Mask of the pixels to tint.
        alpha: Opacity of the colour.
    """
    picture = np.array(image)
    picture[shown] = ((1 - alpha) * picture[shown] + alpha * painted[shown]).astype(np.uint8)
    edge = _outlines(np.where(shown[:, :, None], painted, 0), max(1, min(shown.shape) // 700)) & shown
    picture[edge] = painted[edge]
    return picture


def compared(image: Array, right: Mask, missed: Mask, false: Mask, colors: MistakeColors = MISTAKES) -> Array:
    """Darken the image and colour true and false positives and false negatives, `(H, W, 3) -> (H, W, 3)` uint8.

    Args:
        image: The image as `as_rgb` shows it.
        right: True positives; each mask is `(H, W)`.
        missed: False negatives; drawn over `right`.
        false: False positives; drawn over both.
        colors: Colours of the three masks.
    """
    picture = image // 2
    picture[right], picture[missed], picture[false] = colors
    return picture


def _outlines(colours: Array, width: int) -> Mask:
    """Find pixels next to a pixel of another colour."""
    packed = (colours.astype(np.float32) * (1.0, 256.0, 65536.0)).sum(axis=2, dtype=np.float32)
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(packed, kernel, iterations=width) != cv2.erode(packed, kernel, iterations=width)
    return np.asarray(edge)
