"""Draw prediction and truth of one mask side by side."""

import numpy as np

from segcli.core.types import Array, Mask
from segcli.data.classes.painting import compared
from segcli.data.images import as_rgb

__all__ = ["compare"]


def compare(image: Array, found: Mask, truth: Mask) -> Array:
    """Draw image, truth, prediction and mistakes side by side (green right, red missed, blue false)."""
    picture = as_rgb(image)
    both = compared(picture, found & truth, ~found & truth, found & ~truth)
    flat = [np.repeat((mask * 255).astype(np.uint8)[:, :, None], 3, axis=2) for mask in (truth, found)]
    gap = np.full((picture.shape[0], 8, 3), 255, np.uint8)
    return np.concatenate([picture, gap, flat[0], gap, flat[1], gap, both], axis=1)
