"""Images with masks drawn on them."""

import cv2
import numpy as np

from segcli.core.types import Array, Mask
from segcli.data.images import as_rgb

__all__ = ["compare", "overlay"]

COLOUR = (0, 255, 120)
FOUND, MISSED, FALSE = (60, 200, 90), (255, 70, 70), (70, 130, 255)


def overlay(image: Array, mask: Mask, alpha: float = 0.35) -> Array:
    """Image with the mask tinted and outlined, `(H, W, C), (H, W) -> (H, W, 3)` uint8."""
    picture = as_rgb(image)
    colour = np.array(COLOUR, dtype=np.float32)
    picture[mask] = ((1 - alpha) * picture[mask] + alpha * colour).astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, COLOUR, thickness=max(1, min(mask.shape) // 700))
    return picture


def compare(image: Array, found: Mask, truth: Mask) -> Array:
    """Image, truth, prediction, and both over the image (green right, red missed, blue false), side by side."""
    picture = as_rgb(image)
    both = picture // 2
    both[found & truth], both[~found & truth], both[found & ~truth] = FOUND, MISSED, FALSE
    flat = [np.repeat((mask * 255).astype(np.uint8)[:, :, None], 3, axis=2) for mask in (truth, found)]
    gap = np.full((picture.shape[0], 8, 3), 255, np.uint8)
    return np.concatenate([picture, gap, flat[0], gap, flat[1], gap, both], axis=1)
