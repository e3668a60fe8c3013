"""Whole numbers in label maps that went through floating point."""

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array

__all__ = ["NEAR", "whole"]

NEAR = 1e-3
"""A value this close to a whole number is that number: `1.0000001` in float32 is 1."""
LARGEST = 2**31 - 1


def whole(values: Array, place: str) -> Array:
    """Round floating-point labels to whole numbers; return other labels unchanged.

    Args:
        values: Labels of any shape.
        place: The file and what it is, for the message, such as "label map `a.nii`".

    Raises:
        DataError: A value is not within 0.001 of a whole number.

    Example:
        >>> whole(np.array([0.0, 1.0000001, 2.0]), "mask `a.tif`").tolist()
        [0, 1, 2]
    """
    if values.dtype.kind != "f":
        return values
    largest = min(LARGEST, float(np.finfo(values.dtype).max))  # float16 does not reach far
    with np.errstate(invalid="ignore"):
        near = np.rint(values)
        strange = ~((np.abs(values - near) <= NEAR) & (np.abs(values) <= largest))
    if not strange.any():
        return near.astype(np.int32)
    found, counts = np.unique(values[strange], return_counts=True)
    most = int(counts.argmax())
    others = f" and {len(found) - 1:,} other such values" if len(found) > 1 else ""
    raise DataError(
        f"{place} holds {found[most]:.6g} ({counts[most]:,} times){others}, but a label is a whole number",
        hint=_advice(values, found),
    )


def _advice(values: Array, strange: Array) -> str:
    if not np.isfinite(strange).all():
        return "write the number of the background where NaN or infinity stands"
    if values.min() >= 0 and 0.5 < values.max() <= 1:
        return (
            "if these are probabilities, write where they exceed 0.5; if the mask was resampled, use nearest neighbours"
        )
    return "resample label maps with nearest-neighbour interpolation, and write them without a scale factor"
