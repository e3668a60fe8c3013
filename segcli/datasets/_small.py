"""Images and volumes for the small data set that each layout can write (`Layout.write_small`)."""

from pathlib import Path

import numpy as np

from segcli.core.types import Array
from segcli.files import create

__all__ = ["COUNTS", "picture", "volume", "write_slices"]

COUNTS = {"train": 6, "val": 2, "test": 2}
"""Cases of each split."""


def picture(seed: int) -> tuple[Array, Array]:
    """Draw a noisy RGB image of 32 x 48 pixels with a bright box, `(32, 48, 3)` uint8, and its mask of 0 and 1."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 48), np.uint8)
    top, left = (int(value) for value in rng.integers(4, 16, 2))
    mask[top : top + 12, left : left + 20] = 1
    image = rng.normal(90, 20, (*mask.shape, 3)) + mask[..., None] * 80
    return image.clip(0, 255).astype(np.uint8), mask


def volume(seed: int) -> tuple[Array, Array]:
    """Draw a noisy volume of 16 x 16 x 8 voxels with two boxes, float32 from 0 to 1, and the mask of each.

    The second box is absent in every third volume.
    """
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, 16, 16, 8), np.uint8)
    for mask, (low, high) in zip(masks, ((2, 8), (9, 15)), strict=True):
        start = int(rng.integers(low, high - 3))
        mask[start : start + 4, low:high, 1:7] = 1
    masks[1] *= seed % 3 > 0
    image = 0.5 + 0.3 * masks[0] - 0.3 * masks[1] + rng.normal(0, 0.05, masks.shape[1:])
    return image.clip(0, 1).astype(np.float32), masks


def write_slices(folder: Path, image: Array, masks: Array) -> None:
    """Write a volume and its first mask as slices of TIFF, into the folders `raw` and `mask`."""
    for name, voxels in (("raw", np.rint(image * 4095).astype(np.uint16)), ("mask", masks[0] * 255)):
        (folder / name).mkdir(parents=True)
        for z, plane in enumerate(voxels):
            with create(folder / name / f"z{z:03d}.tif", plane.shape, plane.dtype) as add:
                add(plane)
