"""Exact Euclidean distances between the pixels of masks, in 2D and 3D, and the outlines of masks."""

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["distance_to", "outline", "outline_distances"]


def distance_to(mask: Array, spacing: tuple[float, ...] | None = None) -> Array:
    """Distance from each pixel to the nearest one of a mask; infinite where the mask is empty.

    Args:
        mask: Boolean, shape `(*S,)`, for 2D and 3D alike.
        spacing: Size of a pixel along each axis; 1 when left out.

    Returns:
        float64 `(*S,)`, exact to the rounding of float32; 0 inside the mask.

    Example:
        >>> import numpy as np
        >>> distance_to(np.array([[True, False, False], [False, False, False]]), spacing=(3.0, 1.0)).round(2)
        array([[0.  , 1.  , 2.  ],
               [3.  , 3.16, 3.61]])
    """
    mask = np.ascontiguousarray(mask, dtype=bool)
    if not mask.any():
        return np.full(mask.shape, np.inf)
    spacing = spacing or (1.0,) * mask.ndim
    if mask.ndim == 2 and spacing[0] == spacing[1]:
        pixels: Array = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return pixels.astype(np.float64) * spacing[0]
    squared = np.where(mask, 0.0, np.inf)
    for axis, step in enumerate(spacing):
        squared = _lowered(squared, axis, step)
    return np.sqrt(squared)


def _lowered(squared: Array, axis: int, step: float) -> Array:
    """Least value, along one axis, of each pixel's own and all others plus their squared distance."""
    values = np.moveaxis(squared, axis, 0)
    lowest = values.copy()
    for offset in range(1, len(values)):
        more = (offset * step) ** 2
        # What is farther than the worst value so far cannot lower any.
        if more >= lowest.max():
            break
        np.minimum(lowest[offset:], values[:-offset] + more, out=lowest[offset:])
        np.minimum(lowest[:-offset], values[offset:] + more, out=lowest[:-offset])
    return np.moveaxis(lowest, 0, axis)


def outline(mask: Array) -> Array:
    """Pixels of a mask with a neighbour along an axis outside it; the image's own border is outside.

    Example:
        >>> import numpy as np
        >>> outline(np.ones((4, 4), bool)).sum()
        np.int64(12)
    """
    padded = np.pad(mask, 1)
    inner: tuple[slice, ...] = (slice(1, -1),) * mask.ndim
    core = mask.copy()
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            core &= np.roll(padded, shift, axis)[inner]
    border: Array = mask & ~core
    return border


def outline_distances(found: Array, truth: Array, spacing: tuple[float, ...]) -> tuple[Array, Array]:
    """Distances from each outline pixel of a mask to the nearest outline pixel of the other mask.

    Args:
        found: Boolean, shape `(*S,)`.
        truth: Boolean, same shape.
        spacing: Size of a pixel along each axis.

    Returns:
        One vector for the outline of `found` and one for that of `truth`; infinite where the other mask is empty.
    """
    window = _bounds(found | truth)  # nothing outside it has a say
    found_outline, true_outline = outline(found[window]), outline(truth[window])
    return distance_to(true_outline, spacing)[found_outline], distance_to(found_outline, spacing)[true_outline]


def _bounds(mask: Array) -> tuple[slice, ...]:
    """Smallest box around a mask."""
    box = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(along[0]), int(along[-1]) + 1) if along.size else slice(0, 0))
    return tuple(box)
