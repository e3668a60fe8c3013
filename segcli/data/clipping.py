"""Images without details: those with one value, and those of which `intensity_range` leaves little.

Such a range is not on the scale of the stored values.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from segcli.core.types import Array
from segcli.data.checks import Finding

__all__ = ["clipped", "without_details"]

MOST_WHITE = 0.5
"""With a larger share of values at the upper end, the range is too low for the image."""


def clipped(
    image: Array, intensity_range: Sequence[float] | None, name: str, path: Path, stored: Array | None = None
) -> Iterator[Finding]:
    """Report an image whose values all become 0, or mostly 1.

    Args:
        image: The image after `intensity_range`.
        intensity_range: Stored values that become 0 and 1; None takes values as they are.
        name: Name of the image with a word for it, such as "image `a.tif`".
        path: Its file.
        stored: The image before, for the hint.
    """
    if intensity_range is None or not image.size:
        return
    low, high = intensity_range
    share = np.count_nonzero(image >= 1.0) / image.size
    if not image.any():
        message = f"no value of {name} is above {low:g}, so all of them become 0"
    elif share > MOST_WHITE:
        message = f"{share:.0%} of the values of {name} are {high:g} or more, so they become 1"
    else:
        return
    held = "" if stored is None else f", which go from {stored.min():.5g} to {stored.max():.5g}"
    yield Finding(
        "outside_range",
        "warning",
        path,
        f"{message} with `intensity_range: [{low:g}, {high:g}]`",
        f"state the range of the stored values{held}; or look at the file",
    )


def without_details(image: Array, intensity_range: Sequence[float] | None, name: str, path: Path) -> Iterator[Finding]:
    """Report voxels of which `intensity_range` leaves little, or else that all have the same value.

    Args:
        image: The volume after `intensity_range`.
        intensity_range: Stored values that become 0 and 1; None takes values as they are.
        name: Name of the volume with a word for it, such as "volume `a.nii.gz`".
        path: Its file.
    """
    found = list(clipped(image, intensity_range, name, path))
    yield from found
    if not found and image.min() == image.max():
        message = f"{name} has the same value in every voxel"
        yield Finding("constant_image", "warning", path, message, "look at the file")
