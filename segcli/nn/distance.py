"""Exact Euclidean distances between the pixels of masks, in 2D and 3D, and the outlines of masks."""

from itertools import combinations

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["distance_to", "outline", "outline_distances"]


CHUNK = 2**18
"""Numbers that are compared at a time."""


def distance_to(mask: Array, spacing: tuple[float, ...] | None = None, *, at: Array | None = None) -> Array:
    """Distance from pixels to the nearest pixel of a mask; infinite where the mask is empty.

    Where two axes have one spacing, distances add up: OpenCV gives those within each plane of these axes, and the
    nearest of all planes is sought for the pixels in question only, which is several times as fast as SciPy. SciPy
    does the rest.

    Args:
        mask: Boolean, shape `(*S,)`, for 2D and 3D alike.
        spacing: Size of a pixel along each axis; 1 when left out.
        at: Boolean `(*S,)`: the pixels in question; all of them when left out.

    Returns:
        float64, of shape `(*S,)` or one number for each pixel of `at`; 0 inside the mask.

    Example:
        >>> import numpy as np
        >>> distance_to(np.array([[True, False, False], [False, False, False]]), spacing=(3.0, 1.0)).round(2)
        array([[0.  , 1.  , 2.  ],
               [3.  , 3.16, 3.61]])
    """
    spacing = spacing or (1.0,) * mask.ndim
    asked = np.ones(mask.shape, dtype=bool) if at is None else at
    order = _planes_last(spacing)
    if not mask.any():
        distances = np.full(np.count_nonzero(asked), np.inf)
    elif order is None:
        from scipy import ndimage  # noqa: PLC0415 - few data sets have spacings that all differ

        distances = ndimage.distance_transform_edt(~mask, sampling=spacing)[asked]
    else:
        there = asked.transpose(order)
        distances = np.sqrt(_squared(mask.transpose(order), [spacing[axis] for axis in order], there))
        if order != tuple(range(mask.ndim)):
            turned = np.empty(there.shape)
            turned[there] = distances
            distances = turned.transpose(np.argsort(order))[asked]
    return distances.reshape(mask.shape) if at is None else distances


def _planes_last(spacing: tuple[float, ...]) -> tuple[int, ...] | None:
    """Order the axes so that the last two have one spacing, those that lie last already if they do; None without."""
    axes = range(len(spacing))
    for pair in reversed(list(combinations(axes, 2))):
        if spacing[pair[0]] == spacing[pair[1]]:
            return (*(axis for axis in axes if axis not in pair), *pair)
    return None


def _squared(mask: Array, spacing: list[float], asked: Array) -> Array:
    """Squared distances from the pixels asked for to a mask whose last two axes have one spacing."""
    if mask.ndim == 2:
        return _squared_in_plane(mask, spacing[-1], asked)
    everywhere = np.ones(mask.shape[1:], dtype=bool)
    planes = [_squared_in_plane(plane, spacing[-1], everywhere) for plane in mask]
    return _squared_across(np.stack(planes), spacing[0], asked)


def _squared_in_plane(mask: Array, step: float, asked: Array) -> Array:
    """Squared distance to the mask from the pixels of a plane that are asked for; infinite where it is empty."""
    if not mask.any():
        return np.full(np.count_nonzero(asked), np.inf)
    outside = np.ascontiguousarray(~mask).view(np.uint8)
    pixels: Array = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
    # Squares are whole numbers; rounding takes back what float32 has lost, up to 1400 pixels.
    squared: Array = np.rint(pixels[asked] ** 2) * step**2
    return squared


def _squared_across(layers: Array, step: float, asked: Array) -> Array:
    """Least sum, over all layers, of a layer's own squared distance and that to the layer; for the pixels asked for.

    Args:
        layers: Squared distances within each layer, `(N, ...)`, with one number for each pixel of it.
        step: Distance of a layer from the next.
        asked: Boolean `(N, *S)`.
    """
    flat = layers.reshape(len(layers), -1)
    number = np.arange(len(layers), dtype=float)[:, None]
    here, place = np.nonzero(asked.reshape(flat.shape))
    nearest = np.empty(len(here))
    size = max(1, CHUNK // len(layers))
    for start in range(0, len(here), size):
        part = slice(start, start + size)
        columns = flat.take(place[part], axis=1)
        nearest[part] = (columns + ((number - here[part]) * step) ** 2).min(axis=0)
    return nearest


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
    if not (found.any() or truth.any()):
        return np.zeros(0), np.zeros(0)
    window = _bounds(found | truth)  # nothing outside it has a say
    found_outline, true_outline = outline(found[window]), outline(truth[window])
    return (
        distance_to(true_outline, spacing, at=found_outline),
        distance_to(found_outline, spacing, at=true_outline),
    )


def _bounds(mask: Array) -> tuple[slice, ...]:
    """Smallest box around a mask."""
    box = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(along[0]), int(along[-1]) + 1) if along.size else slice(0, 0))
    return tuple(box)
