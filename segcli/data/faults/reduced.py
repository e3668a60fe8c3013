"""A smaller copy of an image, which several rules look at, and statistics of small pictures."""

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["MOST_CHANNELS", "halved", "is_resizable", "mean_and_deviation"]

LEAST = 160
"""Pixels of the shorter side that are left at least."""
MOST_CHANNELS = 4
"""Channels that OpenCV works on at once."""


def is_resizable(image: Array) -> bool:
    """Tell whether OpenCV resizes an image `(H, W, C)` with its type and number of channels."""
    return image.shape[2] <= MOST_CHANNELS and image.dtype in (np.uint8, np.uint16, np.float32)


def halved(image: Array) -> Array:
    """Average blocks of 2 x 2 pixels of an image `(H, W, C)` again and again while it stays large enough."""
    if not is_resizable(image):
        return image
    while min(image.shape[:2]) >= 2 * LEAST:
        height, width, channels = image.shape
        half = cv2.resize(
            image[: height // 2 * 2, : width // 2 * 2], (width // 2, height // 2), interpolation=cv2.INTER_AREA
        )
        image = half.reshape(height // 2, width // 2, channels)  # OpenCV drops a single channel
    return image


def mean_and_deviation(values: Array) -> tuple[float, float]:
    """Compute mean and standard deviation of a picture `(H, W)`, with a single call."""
    mean, deviation = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(deviation[0, 0])
