"""Masks of volumes that are shifted, reversed or have exchanged axes, compared with those of the other volumes.

Details of a mask are compared with details of its image, as they are and moved. Where the masks of a data set fit their
images as they are, one that does not, but fits as well as they do when it is moved, is reported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["VolumeFit", "Way", "misplaced", "volume_fit_of"]

LONGEST = 48
"""Longest side of the volumes that are compared."""
LEAST, FEWEST = 0.1, 6
"""Median fit and number of volumes from which one of them can be blamed."""
GAIN, WORSE, AS_USUAL = 0.35, 0.65, 0.7
"""Least gain of a moved mask, largest fit as it is, and least fit when moved, as shares of the median fit."""
BY_CHANCE = 4.8
"""Least distance of a gain from the median gain, as a multiple of that which one in five volumes exceeds by chance."""
SMALL, WIDE = 3, 9
"""Sides of the cubes whose means differ in details."""
KINDS = ("shift", "reversed", "exchanged")
SHIFTS = tuple(step for step in range(-6, 7) if abs(step) > 1)


@dataclass(frozen=True, slots=True)
class Way:
    """Describes how a mask is moved; lengths are in voxels of the compared volume."""

    kind: str
    """One of `KINDS`."""
    axis: int
    amount: int
    """Voxels of a shift; the other axis of an exchange."""


Best = tuple[tuple[float, int], ...]
"""Largest correlation for each kind of way, with the number of the way; -1 for a kind that is not possible."""


@dataclass(frozen=True, slots=True)
class VolumeFit:
    """Describes how a mask lies on its volume, as correlations of details."""

    here: float
    bright: Best
    """Best places for bright objects."""
    dark: Best
    """Best places for dark objects, as correlations with the inverted mask."""
    steps: tuple[int, int, int]
    """Voxels of the volume for each compared one, along each axis."""


def volume_fit_of(image: Array, mask: Array) -> VolumeFit | None:
    """Compare a mask `(D, H, W)` with its volume `(D, H, W, C)`; None without details."""
    steps = tuple(-(-length // LONGEST) for length in mask.shape)
    reduced = tuple(slice(step // 2, None, step) for step in steps)
    grey = image[reduced][..., image.shape[-1] // 2].astype(np.float32)
    details, shape = _details(grey), _details((mask[reduced] > 0).astype(np.float32))
    if details is None or shape is None:
        return None
    fits = _moved_fits(shape, details, mask.shape)
    bright, dark = _best(fits), _best([-fit for fit in fits])
    assert len(steps) == 3
    return VolumeFit(float(np.vdot(shape, details)), bright, dark, steps)


def _moved_fits(shape: Array, details: Array, size: tuple[int, ...]) -> list[float]:
    """Correlate a mask with details in each way; NaN for a way that is not possible.

    Args:
        shape: Details of the mask.
        details: Those of the volume.
        size: Size of both before they were reduced.
    """
    by_axis = []
    for axis in range(3):
        ours, theirs = (np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1) for each in (shape, details))
        by_axis.append(ours @ theirs.T)  # of each plane with each plane
    fits = []
    for way in _ways():
        if not _can(way, size):
            fits.append(float("nan"))
        elif way.kind == "exchanged":
            fits.append(float(np.vdot(np.swapaxes(shape, way.axis, way.amount), details)))
        else:
            planes = by_axis[way.axis][:: -1 if way.kind == "reversed" else 1]
            fits.append(float(np.trace(planes, way.amount)))
    return fits


def _best(fits: Sequence[float]) -> Best:
    """Find the best way of each kind."""
    kinds = [
        [(fit, i) for i, fit in enumerate(fits) if _ways()[i].kind == kind and not np.isnan(fit)] for kind in KINDS
    ]
    return tuple(max(each, default=(-1.0, 0)) for each in kinds)


def misplaced(fits: Sequence[VolumeFit | None]) -> Iterator[tuple[int, Way, int]]:
    """Find masks that fit better when they are moved, among masks that fit as they are.

    Yields:
        Position of the mask, the way to the better place, and the voxels of each compared one along its axis.
    """
    known = [(i, fit) for i, fit in enumerate(fits) if fit is not None]
    if len(known) < FEWEST:
        return
    sign = 1 if np.median([fit.here for _, fit in known]) > 0 else -1
    here = np.array([sign * fit.here for _, fit in known])
    usual = float(np.median(here))
    if usual < LEAST:
        return
    found: dict[int, tuple[float, Way, int]] = {}
    for kind in range(len(KINDS)):
        best = [(fit.bright if sign > 0 else fit.dark)[kind] for _, fit in known]
        gains = np.array([then for then, _ in best]) - here
        middle, common = np.quantile(gains, (0.5, 0.8))
        least = max(GAIN * usual, float(middle + BY_CHANCE * (common - middle)))
        for (i, fit), now, gain, (then, number) in zip(known, here, gains, best, strict=True):
            is_better = gain >= least and now <= WORSE * usual and then >= AS_USUAL * usual
            if is_better and then > found.get(i, (0.0,))[0]:
                way = _ways()[number]
                found[i] = (then, way, fit.steps[way.axis])
    for i, (_, way, step) in sorted(found.items()):
        yield i, way, step


@cache
def _ways() -> list[Way]:
    shifts = [Way("shift", axis, step) for axis in range(3) for step in SHIFTS]
    exchanges = [Way("exchanged", one, other) for one, other in combinations(range(3), 2)]
    return [*shifts, *(Way("reversed", axis, 0) for axis in range(3)), *exchanges]


def _can(way: Way, size: tuple[int, ...]) -> bool:
    if way.kind == "exchanged":
        return size[way.axis] == size[way.amount]
    return way.kind == "reversed" or 2 * abs(way.amount) < size[way.axis]


def _details(values: Array) -> Array | None:
    """Subtract means of the surroundings, cut off what is far from 0, and bring it to a mean of 0 and a length of 1."""
    detail = _mean(values, SMALL) - _mean(values, WIDE)
    spread = 2 * float(detail.std())
    if spread <= 1e-6 * float(np.abs(values).max()):
        return None
    detail = np.clip(detail, -spread, spread)
    detail -= detail.mean()
    unit: Array = detail / np.linalg.norm(detail)
    return unit


def _mean(values: Array, side: int) -> Array:
    """Average each value with those of the cube around it."""
    depth, height, width = values.shape
    planes = np.ascontiguousarray(values.transpose(1, 2, 0))  # slices are channels of one picture
    planes = cv2.blur(planes, (side, side), borderType=cv2.BORDER_REPLICATE).reshape(height * width, depth)
    lines = cv2.blur(planes, (side, 1), borderType=cv2.BORDER_REPLICATE)
    mean: Array = lines.reshape(height, width, depth).transpose(2, 0, 1)
    return mean
