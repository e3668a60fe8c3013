"""Images that look nearly the same: copies that were re-encoded, scaled, mirrored or turned.

An image is reduced to a small grid of its details: the grid minus its own blur, cut off so that no bright edge decides
alone. Two such grids are compared by their correlation, one of them in each mirrored and turned form.

Measured on copies (JPEG of quality 70, mirrored, 0.6 times as large) and on different images of five data sets: copies
reach 0.92 or more, different images 0.82 or less, and frames of one standing car 0.88.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations, product
from typing import Any

import cv2
import numpy as np

from segcli.core.spilled import Spilled
from segcli.core.types import Array
from segcli.data.faults.reduced import is_resizable

__all__ = ["ALIKE", "GRIDS", "Pair", "alike", "look_of"]

ALIKE = {2: 0.9, 3: 0.96}
"""Correlation from which two images count as nearly the same, by number of spatial axes; different drawn organs of the
same shape reach 0.91 in 3D."""
SURE = {2: 0.97, 3: 0.998}
"""Correlation that a pair needs where other images look like one of the two, such as those of a fabric, or of one round
object in the middle."""
USUAL = 0.1
"""Images whose correlation is below `ALIKE` by no more than this look like each other, too."""
FEW = 2
"""Number of images that look like one, such as its copies in both other splits."""
CANDIDATE = 0.6
"""Correlation of the projected grids from which the whole grids are compared."""
GRIDS = {2: (32, 32), 3: (12, 12, 12)}
"""Size of the grid by number of spatial axes."""
PROJECTED = 128
"""Numbers of a projected grid."""
TOGETHER = 8
"""Forms of images that are projected at once, so that memory stays small."""
LEAST_DETAIL = 1e-6
BLOCK, OTHERS = 64, 2048
"""Images that are compared at once with so many others, so that memory stays small."""


@dataclass(frozen=True)
class Pair:
    """Two images of different splits that look nearly the same."""

    one: tuple[str, int]
    """Split and position of the first image."""
    other: tuple[str, int]
    likeness: float
    turned: bool
    """True if one of them is mirrored or turned against the other."""


def look_of(image: Array) -> Array | None:
    """Reduce an image `(*S, C)` to its look, int8; None for an image without details."""
    grid = _reduced(image)
    detail = grid - _blurred(grid)
    spread = float(detail.std())
    if spread <= LEAST_DETAIL * max(float(np.abs(grid).max()), LEAST_DETAIL):
        return None
    detail = np.tanh(detail / max(_median(np.abs(detail).ravel()), 0.5 * spread))
    look: Array = np.rint(127 * detail).astype(np.int8)
    return look


def _median(values: Array) -> float:
    """Compute the median of an even number of values, as NumPy does, which takes longer."""
    middle = len(values) // 2
    return float(np.partition(values, (middle - 1, middle))[middle - 1 : middle + 1].mean())


def alike(looks: Mapping[str, Sequence[Array | None]]) -> Iterator[Pair]:
    """Find pairs of images in different splits that look nearly the same.

    Args:
        looks: Looks of the images of each split, all with the same number of axes.
    """
    known = {
        split: array("i", (i for i, look in enumerate(members) if look is not None)) for split, members in looks.items()
    }
    ndim = next((_known(looks[split], places[:1])[0].ndim for split, places in known.items() if places), 2)
    near = list(_near(looks, known))
    usual = Counter(place for pair in near if pair.likeness < SURE[ndim] for place in (pair.one, pair.other))
    for pair in near:
        is_usual = max(usual[pair.one], usual[pair.other]) > FEW
        if pair.likeness >= (SURE if is_usual else ALIKE)[ndim]:
            yield pair


def _near(looks: Mapping[str, Sequence[Array | None]], known: Mapping[str, Sequence[int]]) -> Iterator[Pair]:
    """Find pairs of images in different splits that look nearly the same, or a little less.

    Args:
        looks: Looks of the images of each split.
        known: Positions of those that have one.
    """
    for (split, rows), (other_split, columns) in combinations(known.items(), 2):
        if not rows or not columns:
            continue
        with closing(Spilled((PROJECTED,), np.float32)) as short:
            for start in range(0, len(rows), BLOCK):
                short.add(_projected(_units(np.stack(_known(looks[split], rows[start : start + BLOCK])))))
            for start in range(0, len(columns), BLOCK):
                others = _known(looks[other_split], columns[start : start + BLOCK])
                for i, j, likeness, turned in _compared(looks[split], rows, short, others):
                    yield Pair((split, rows[i]), (other_split, columns[start + j]), likeness, turned)


def _known(looks: Sequence[Array | None], places: Sequence[int]) -> list[Array]:
    return [look for look in (looks[place] for place in places) if look is not None]


def _compared(
    theirs: Sequence[Array | None], places: Sequence[int], short: Spilled, looks: Sequence[Array]
) -> Iterator[tuple[int, int, float, bool]]:
    """Compare images with all forms of some others; the best form of each pair counts.

    Args:
        theirs: Looks of the images.
        places: Positions of those that have one.
        short: Projections of these.
        looks: Looks of the others.
    """
    forms = _forms(np.stack(looks))
    groups = (forms[start : start + TOGETHER] for start in range(0, len(forms), TOGETHER))
    projections = [each.T for group in groups for each in _projections(group)]
    best: dict[tuple[int, int], tuple[float, bool]] = {}
    least = ALIKE[looks[0].ndim] - USUAL
    for start in range(0, len(short), OTHERS):
        part = short.part(start, start + OTHERS)
        for number, (form, projection) in enumerate(zip(forms, projections, strict=True)):
            for i, j in np.argwhere(part @ projection >= CANDIDATE).tolist():
                (their,) = _known(theirs, [places[start + i]])
                likeness = float(_units(their[None])[0] @ _units(form[j : j + 1])[0])
                if likeness >= least and likeness > best.get((start + i, j), (0.0, False))[0]:
                    best[start + i, j] = (likeness, number > 0)
    for (i, j), (likeness, turned) in sorted(best.items()):
        yield i, j, likeness, turned


def _projections(forms: Sequence[Array]) -> Iterator[Array]:
    """Project looks `(N, *S)` in several forms together, which takes much less time than one form after the other."""
    yield from _projected(_units(np.concatenate(forms))).reshape(len(forms), -1, PROJECTED)


def _forms(looks: Array) -> list[Array]:
    """List looks `(N, *S)`, and their mirrored forms and those with quarter turns."""
    ndim = looks.ndim - 1
    if ndim == 2:
        return [np.rot90(each, turn, axes=(1, 2)) for each in (looks, looks[:, :, ::-1]) for turn in range(4)]
    orders, steps = permutations(range(1, ndim + 1)), list(product((1, -1), repeat=ndim))
    turned = (looks.transpose(0, *order) for order in orders)
    every = slice(None)
    return [each[every, *(slice(None, None, step) for step in signs)] for each in turned for signs in steps]


def _units(looks: Array) -> Array:
    """Bring looks `(N, *S)` to rows of mean 0 and length 1."""
    rows = looks.reshape(len(looks), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    units: Array = rows
    units /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST_DETAIL)
    return units


@cache
def _signs(length: int) -> Array:
    """Draw signs that project rows to fewer numbers and nearly keep their correlations."""
    drawn = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (length, PROJECTED))
    signs: Array = drawn / np.float32(np.sqrt(PROJECTED))
    return signs


def _projected(rows: Array) -> Array:
    short: Array = rows @ _signs(rows.shape[1])
    units: Array = short / np.maximum(np.linalg.norm(short, axis=1, keepdims=True), LEAST_DETAIL)
    return units


def _reduced(image: Array) -> Array:
    """Average the channels and blocks of pixels to the size of the grid."""
    *size, channels = image.shape
    grid = GRIDS[len(size)]
    if len(size) == 2:
        if min(size) > 8 * grid[0] and is_resizable(image):
            image = cv2.resize(image, (4 * grid[1], 4 * grid[0]), interpolation=cv2.INTER_AREA)
            image = image.reshape(*image.shape[:2], channels)  # OpenCV drops a single channel
        flat = _summed(image)
        flat /= channels
        method = cv2.INTER_AREA if min(flat.shape) >= grid[0] else cv2.INTER_LINEAR
        small: Array = cv2.resize(flat, grid[::-1], interpolation=method)
        return small
    values = image.mean(axis=-1, dtype=np.float32)
    for axis, (have, want) in enumerate(zip(size, grid, strict=True)):
        values = _along(values, axis, have, want)
    found: Array = values
    return found


def _summed(image: Array) -> Array:
    """Sum the channels of an image `(H, W, C)`, float32."""
    if not is_resizable(image):
        planes = (image[:, :, each] for each in range(image.shape[2]))
        slowly: Array = sum(planes, np.zeros(image.shape[:2], np.float32))
        return slowly
    first, *others = cv2.split(image)
    total: Array = first.astype(np.float32)
    for other in others:
        total = cv2.add(total, other, dtype=cv2.CV_32F)
    return total


def _along(values: Array, axis: int, have: int, want: int) -> Array:
    """Average blocks along an axis that is longer than the grid; repeat the values of a shorter one."""
    if have <= want:
        places = (np.arange(want) + 0.5) * have / want
        ends = places.astype(int), np.ceil(places).astype(int) - 1  # they differ between two values
        repeats: Array = (values.take(ends[0], axis) + values.take(ends[1], axis)) / np.float32(2)
        return repeats
    starts = np.rint(np.arange(want) * have / want).astype(int)
    lengths = np.diff(np.append(starts, have)).astype(np.float32)
    shape = [-1 if each == axis else 1 for each in range(values.ndim)]
    means: Array = np.add.reduceat(values, starts, axis) / lengths.reshape(shape)
    return means


def _blurred(grid: Array) -> Array:
    """Average each value with its neighbours within two steps along each axis."""
    if grid.ndim == 2:
        blurred: Array = cv2.blur(grid, (5, 5), borderType=cv2.BORDER_REFLECT)
        return blurred
    padded: Any = np.pad(grid, 2, mode="symmetric")
    for axis in range(grid.ndim):
        length = grid.shape[axis]
        padded = sum(padded.take(range(step, step + length), axis) for step in range(5)) / np.float32(5)
    smooth: Array = padded
    return smooth
