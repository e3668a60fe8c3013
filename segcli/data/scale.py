"""Tell when the `mean` and `std` of a data set are on another scale than its pixels."""

import numpy as np

from segcli.core.types import Array
from segcli.data.samples import TOPS, as_unit
from segcli.data.settings import DatasetSpec

__all__ = ["other_scale"]

FAR, NARROW = 20.0, 0.01
"""Normalised images of other types have a mean within the first and a deviation above the second."""


def other_scale(spec: DatasetSpec, image: Array, *, is_unit: bool = False) -> tuple[str, str] | None:
    """Compare the stated `mean` and `std` with an image.

    Pixels of 8 and 16 bits are divided by their largest value first, so that `mean` is from 0 to 1. Other pixels may
    have any scale; they are compared as they are.

    Args:
        spec: The data set.
        image: Pixels of a case.
        is_unit: Whether the layout has already scaled the pixels to 0 to 1.

    Returns:
        Message and hint; None if they fit, or if none are stated.
    """
    if spec.mean is None or spec.std is None:
        return None
    stated = f"`mean: {_shown(spec.mean)}` and `std: {_shown(spec.std)}`"
    if image.dtype.name in TOPS or is_unit:
        if min(spec.mean) >= 0 and max(*spec.mean, *spec.std) <= 1:
            return None
        kind = {"uint8": "8-bit images", "uint16": "16-bit images"}.get(image.dtype.name, "these images")
        message = f"{stated} are not on the scale from 0 to 1, on which {kind} are normalised"
        return message, _way_out(spec.mean, spec.std, TOPS.get(image.dtype.name, 255))
    pixels = as_unit(image).reshape(-1, image.shape[-1])
    scaled = (pixels - np.array(spec.mean)) / np.array(spec.std)
    # by channel: means that differ between channels would hide that the pixels of each are all alike
    means, deviations = scaled.mean(axis=0), scaled.std(axis=0)
    mean, deviation = float(means[np.abs(means).argmax()]), float(deviations.max())
    if pixels.min() == pixels.max() or (abs(mean) <= FAR and deviation >= NARROW):
        return None
    message = (
        f"{stated} do not fit the pixels: normalised, an image has the mean {mean:.3g} and deviation {deviation:.2g}"
    )
    return message, "`segcli data stats` prints `mean` and `std` of the data set"


def _way_out(mean: list[float], std: list[float], top: float) -> str:
    largest = max(*mean, *std)
    divisor = 255 if largest <= 255 else 65535
    one_scale = max(mean) > 1 and (max(std) > 1 or set(std) == {1})  # a deviation of 1 only subtracts the mean
    if not one_scale or top != divisor or min(mean) < 0 or largest > divisor:
        return "`segcli data stats` prints `mean` and `std` on this scale"
    parts = ([round(value / divisor, 4) for value in values] for values in (mean, std))
    return "divided by {}: `mean: {}`, `std: {}`".format(divisor, *map(_shown, parts))


def _shown(values: list[float]) -> str:
    return "[{}]".format(", ".join(f"{value:g}" for value in values))
