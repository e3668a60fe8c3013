"""Masks of volumes that are shifted, reversed or have exchanged axes, compared with those of the other volumes.

Details of a mask are compared with details of its image, as they are and moved. Where the masks of a data set fit their
images as they are, one that does not, but fits as well as they do when it is moved, is reported.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, chain, combinations, pairwise

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = [
    "NUMBERS",
    "VolumeFit",
    "Way",
    "image_details",
    "mask_details",
    "misplaced",
    "steps_of",
    "usual_fit",
    "volume_fit_of",
]

LONGEST = 48
"""Longest side of the volumes that are compared."""
LEAST, FEWEST = 0.1, 6
"""Median fit and number of volumes from which one of them can be blamed."""
ALIKE = (0.7, 1.4)
"""Range in which half of the fits must lie, as shares of the median fit; where they differ more, none can be blamed."""
GAIN, WORSE, AS_USUAL = 0.15, 0.65, 0.65
"""Least gain of a moved mask, largest fit as it is, and least fit when moved, as shares of the median fit."""
BY_CHANCE = 4.8
"""Least distance of a gain from the median gain, as a multiple of that which one in five volumes exceeds by chance."""
SMALL, WIDE = 3, 9
"""Sides of the cubes whose means differ in details."""
KINDS = ("shift", "reversed", "exchanged")
SHIFTS = tuple(step for step in range(-6, 7) if abs(step) > 1)
EXCHANGES = tuple(combinations(range(3), 2))
NUMBERS = 1 + 4 * len(KINDS) + 3 + 1
"""Numbers of a description: a correlation, the best place of each kind for bright and dark objects, three steps, and
the mark of the mask."""
STARTS = tuple(accumulate((0, 3 * len(SHIFTS), 3, len(EXCHANGES))))
"""Number of the first way of each kind, and that of all ways."""


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
    mark: float
    """A number that is the same for equal masks, and hardly ever for others."""

    def numbers(self) -> tuple[float, ...]:
        """Return the description as `NUMBERS` numbers."""
        return (self.here, *chain.from_iterable((*self.bright, *self.dark)), *self.steps, self.mark)

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> "VolumeFit":
        """Make the description from its numbers."""
        here, *bests, depth, height, width, mark = numbers
        pairs = [(fit, int(number)) for fit, number in zip(bests[::2], bests[1::2], strict=True)]
        kinds = len(KINDS)
        return cls(here, tuple(pairs[:kinds]), tuple(pairs[kinds:]), (int(depth), int(height), int(width)), mark)


def volume_fit_of(image: Array, mask: Array) -> VolumeFit | None:
    """Compare a mask `(D, H, W)` with its volume `(D, H, W, C)`; None without details."""
    shape = mask_details(mask)
    details = None if shape is None else image_details(image)
    if details is None or shape is None:
        return None
    one, two, three = steps_of(mask.shape)
    fits = _moved_fits(shape, details, mask.shape)
    possible = _possible(mask.shape)
    bright, dark = (_best(np.where(possible, each, -np.inf)) for each in (fits, -fits))
    return VolumeFit(float((shape * details).sum()), bright, dark, (one, two, three), cv2.norm(shape[0], cv2.NORM_L1))


def mask_details(mask: Array) -> Array | None:
    """Reduce a mask `(D, H, W)` to its details; None without any."""
    return _mask_details(mask[_reduced(mask.shape)])


def image_details(image: Array) -> Array | None:
    """Reduce a volume `(D, H, W, C)` to the details of its middle channel; None without any."""
    return _details(image[_reduced(image.shape[:3])][..., image.shape[-1] // 2].astype(np.float32))


def _reduced(size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(step // 2, None, step) for step in steps_of(size))


def steps_of(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many voxels become one in the volumes that are compared, along each axis."""
    return tuple(-(-length // LONGEST) for length in size)


def _moved_fits(shape: Array, details: Array, size: tuple[int, ...]) -> Array:
    """Correlate a mask with details in each way; what it holds for a way that is not possible means nothing.

    Args:
        shape: Details of the mask.
        details: Those of the volume.
        size: Size of both before they were reduced.
    """
    # small products, which BLAS computes in one thread: several images are compared at once in any case
    by_axis = (  # of each plane with each plane
        np.matmul(shape.transpose(1, 0, 2), details.transpose(1, 2, 0)).sum(axis=0),
        np.matmul(shape, details.transpose(0, 2, 1)).sum(axis=0),
        np.matmul(shape.transpose(0, 2, 1), details).sum(axis=0),
    )
    along = np.stack([np.einsum("ij,j->i", _lines(len(planes)), planes.ravel()) for planes in by_axis])
    exchanged = [
        float((np.swapaxes(shape, one, other) * details).sum()) if size[one] == size[other] else 0.0
        for one, other in EXCHANGES
    ]
    return np.concatenate([along[:, :-1].ravel(), along[:, -1], exchanged])


@lru_cache(16)
def _lines(length: int) -> Array:
    """Make the matrix that sums up the pairs of planes of each shift, and those of the reversed order."""
    first, second = np.mgrid[:length, :length]
    lines = [second - first == shift for shift in SHIFTS]
    return np.stack([*lines, first + second == length - 1]).reshape(-1, length * length).astype(np.float32)


def _best(fits: Array) -> Best:
    """Find the best way of each kind."""
    found = []
    for first, stop in pairwise(STARTS):
        number = first + int(fits[first:stop].argmax())
        found.append((float(fits[number]), number) if np.isfinite(fits[number]) else (-1.0, 0))
    return tuple(found)


def usual_fit(fits: Sequence[VolumeFit | None]) -> float | None:
    """Compute the median of how masks fit their volumes as they are; None if it is too small, or they differ much.

    It is below 0 where objects are dark.
    """
    here = np.array([fit.here for fit in fits if fit is not None])
    usual = float(np.median(here)) if len(here) >= FEWEST else 0.0
    if abs(usual) < LEAST:
        return None
    low, high = np.quantile(here / usual, (0.25, 0.75))
    return usual if low >= ALIKE[0] and high <= ALIKE[1] else None


def misplaced(fits: Sequence[VolumeFit | None]) -> Iterator[tuple[int, Way, int]]:
    """Find masks that fit better when they are moved, among masks that fit as they are.

    Yields:
        Position of the mask, the way to the better place, and the voxels of each compared one along its axis.
    """
    signed = usual_fit(fits)
    if signed is None:
        return
    sign, usual = math.copysign(1, signed), abs(signed)
    known = [(i, fit) for i, fit in enumerate(fits) if fit is not None]
    here = np.array([sign * fit.here for _, fit in known])
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
    exchanges = [Way("exchanged", one, other) for one, other in EXCHANGES]
    return [*shifts, *(Way("reversed", axis, 0) for axis in range(3)), *exchanges]


@lru_cache(64)
def _possible(size: tuple[int, ...]) -> Array:
    return np.array([_can(way, size) for way in _ways()])


def _can(way: Way, size: tuple[int, ...]) -> bool:
    if way.kind == "exchanged":
        return size[way.axis] == size[way.amount]
    return way.kind == "reversed" or 2 * abs(way.amount) < size[way.axis]


def _mask_details(mask: Array) -> Array | None:
    """Compute the details of a mask; its sums are whole numbers, which are faster."""
    values = np.ascontiguousarray((mask > 0).transpose(1, 2, 0)).view(np.uint8)
    means = []
    for side in (SMALL, WIDE):
        planes = cv2.boxFilter(values, cv2.CV_16U, (side, side), normalize=False, borderType=cv2.BORDER_REPLICATE)
        planes = planes.reshape(-1, values.shape[2])
        means.append(cv2.boxFilter(planes, cv2.CV_32F, (side, 1), normalize=False, borderType=cv2.BORDER_REPLICATE))
    detail = means[0] * np.float32(SMALL**-3) - means[1] * np.float32(WIDE**-3)
    height, width, depth = values.shape
    return _unit(detail.reshape(height, width, depth).transpose(2, 0, 1), 1.0)


def _details(values: Array) -> Array | None:
    """Subtract means of the surroundings, and bring them to a mean of 0 and a length of 1."""
    return _unit(_mean(values, SMALL) - _mean(values, WIDE), max(float(values.max()), -float(values.min())))


def _unit(detail: Array, largest: float) -> Array | None:
    """Cut off what is far from 0, and bring details to a mean of 0 and a length of 1; None without details.

    Args:
        detail: Details.
        largest: Largest absolute value that they were computed from.
    """
    detail = np.ascontiguousarray(detail)
    _, deviation = cv2.meanStdDev(detail.reshape(len(detail), -1))
    spread = 2 * float(deviation[0, 0])
    if spread <= 1e-6 * largest:
        return None
    np.clip(detail, -spread, spread, out=detail)
    detail -= detail.mean()
    detail /= np.float32(cv2.norm(detail.reshape(len(detail), -1)))
    return detail


def _mean(values: Array, side: int) -> Array:
    """Average each value with those of the cube around it."""
    depth, height, width = values.shape
    planes = np.ascontiguousarray(values.transpose(1, 2, 0))  # slices are channels of one picture
    planes = cv2.blur(planes, (side, side), borderType=cv2.BORDER_REPLICATE).reshape(height * width, depth)
    lines = cv2.blur(planes, (side, 1), borderType=cv2.BORDER_REPLICATE)
    mean: Array = lines.reshape(height, width, depth).transpose(2, 0, 1)
    return mean
