"""Images that seem to show a part of another image: copies whose borders were cut off, or to which a border was added.

Looks are compared with windows of other looks, first by their coarse structure, then finely. What is found is only a
suspicion, which the pixels must confirm: photographs of one kind, such as eyes, have much of their structure in common.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from heapq import nlargest
from itertools import permutations

import numpy as np

from segcli.core.types import Array

__all__ = ["Form", "Suspicion", "Window", "cropped", "formed"]

SIDE = 32
"""Size of a look along each axis."""
SHARES = (1.0, 0.95, 0.9, 0.85)
"""Lengths of windows, as shares of the length of the image."""
STEP = 1.6
"""Largest distance of neighbouring windows, in values of a look."""
WAVES = 9
"""Cosine waves along each axis that describe the coarse structure."""
COARSE, FINE = 0.6, 0.6
"""Correlations from which images are compared finely, and from which they are a suspicion."""
OF_KIND, FEW = 0.7, 4
"""Correlation that a pair needs where more images than a few look like one of the two, such as photographs of eyes."""
MOST = 100
"""Pairs that are compared finely."""
MOST_PAIRS = 400_000
"""Pairs of images beyond which only images as they are stored are compared, without those mirrored or turned."""
TOO_MANY = 8 * MOST_PAIRS
BLOCK, OTHERS, KEPT = 8, 256, 64
"""Images whose windows are compared at once with so many others, so that memory stays small; blocks of windows kept."""
COLUMNS = 64
"""Columns of a product that is small enough for one thread."""
SCALES, SHIFTS = (-0.02, 0.0, 0.02), (-0.8, -0.4, 0.0, 0.4, 0.8)
"""Differences from a window that are tried finely: in its length, and in its place."""
EDGE = 3
"""Values at the ends of a line that count less."""
LEAST = 1e-6
Form = tuple[bool, bool, bool]
"""Tells whether axes are exchanged, and then whether rows and columns are reversed."""
FORMS: list[Form] = [
    (turn, down, across) for turn in (False, True) for down in (False, True) for across in (False, True)
]
Window = tuple[float, float]
"""Length and begin of a window along an axis, as shares of the length of the image."""


@dataclass(frozen=True)
class Suspicion:
    """Holds two images of different splits of which one seems to be a part of the other."""

    whole: tuple[str, int]
    """Split and position of the image that shows more."""
    part: tuple[str, int]
    windows: tuple[Window, Window]
    """Rows and columns of the whole that the part shows."""
    form: Form
    """Form of the part that lies in the whole."""
    likeness: float


def cropped(looks: Mapping[str, Sequence[Array | None]]) -> Iterator[Suspicion]:
    """Find pairs of 2D images in different splits of which one seems to be a part of the other.

    Args:
        looks: Looks of the images of each split.
    """
    known = {split: [i for i, look in enumerate(each) if look is not None] for split, each in looks.items()}
    sizes = [len(places) for places in known.values()]
    pairs = (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
    if pairs > TOO_MANY:
        return
    forms = FORMS if pairs <= MOST_PAIRS else FORMS[:1]
    near = []
    for _, _, whole, part, window, form in nlargest(MOST, _coarse(looks, known, forms)):
        one, other = (looks[split][place] for split, place in (whole, part))
        assert one is not None
        assert other is not None
        likeness, windows = _fine(one.astype(np.float32), formed(other, form).astype(np.float32), window)
        if likeness >= FINE:
            near.append(Suspicion(whole, part, windows, form, likeness))
    usual = Counter(place for whole, part in {(each.whole, each.part) for each in near} for place in (whole, part))
    for each in near:
        if each.likeness >= (OF_KIND if max(usual[each.whole], usual[each.part]) > FEW else FINE):
            yield each


def formed(image: Array, form: Form) -> Array:
    """Exchange and reverse the axes of an image `(H, W, ...)`."""
    turns, down, across = form
    image = np.swapaxes(image, 0, 1) if turns else image
    return image[:: -1 if down else 1, :: -1 if across else 1]


Found = tuple[float, int, tuple[str, int], tuple[str, int], tuple[int, int], Form]


def _coarse(
    looks: Mapping[str, Sequence[Array | None]], known: Mapping[str, Sequence[int]], forms: Sequence[Form]
) -> Iterator[Found]:
    """Compare the coarse structure of windows with that of other images; the best window and form of a pair count."""
    count = 0

    @lru_cache(KEPT)
    def windows(split: str, first: int) -> Array:
        rows = _windows(_stacked(looks[split], known[split][first : first + BLOCK]))
        return rows.reshape(-1, len(_pairs()), rows.shape[1])

    for split, other in permutations(known, 2):
        for start in range(0, len(known[other]), OTHERS):
            parts = known[other][start : start + OTHERS]
            waves = _waves(_stacked(looks[other], parts))
            shown = np.concatenate([_units(_formed_waves(waves, form)) for form in forms]).T
            for first in range(0, len(known[split]), BLOCK):
                wholes = known[split][first : first + BLOCK]
                best = _best(windows(split, first), shown).reshape(len(wholes), len(forms), len(parts)).max(axis=1)
                for i, j in np.argwhere(best >= COARSE).tolist():
                    fits = windows(split, first)[i] @ shown[:, j :: len(parts)]
                    window, form = divmod(int(fits.argmax()), len(forms))
                    count += 1
                    row, column = _pairs()[window]
                    places = (split, wholes[i]), (other, parts[j])
                    yield float(best[i, j]), -count, *places, (row, column), forms[form]


def _best(windows: Array, shown: Array) -> Array:
    """Correlate windows `(N, windows, waves)` with images `(waves, M)`; return the best of each pair, `(N, M)`.

    This is done in parts that BLAS computes in one thread: to wait for its other threads takes longer.
    """
    starts = range(0, shown.shape[1], COLUMNS)
    return np.concatenate([(windows @ shown[:, start : start + COLUMNS]).max(axis=1) for start in starts], axis=1)


def _fine(whole: Array, part: Array, window: tuple[int, int]) -> tuple[float, tuple[Window, Window]]:
    """Compare a look with all windows of another one near a given window; return the best of them."""
    (rows, _), (columns, lying) = map(_near_sampling, window)
    part = np.outer(_taper(), _taper()) * part
    part -= part.mean()
    lines = (rows.reshape(-1, SIDE) @ whole).reshape(len(rows), -1)
    shown = (part @ lying).reshape(SIDE, len(columns), SIDE).swapaxes(0, 1).reshape(len(columns), -1)
    row, column = divmod(int((lines @ shown.T).argmax()), len(columns))
    seen = rows[row] @ whole @ columns[column].T
    seen -= seen.mean()
    likeness = float(np.vdot(seen, part)) / max(float(np.linalg.norm(seen) * np.linalg.norm(part)), LEAST)
    chosen = _near(*_states()[window[0]])[row], _near(*_states()[window[1]])[column]
    along, across = ((share, begin / SIDE) for share, begin in chosen)
    return likeness, (along, across)


def _near(share: float, begin: float) -> list[Window]:
    middle = begin + share * SIDE / 2
    return [(share + longer, middle + shift - (share + longer) * SIDE / 2) for longer in SCALES for shift in SHIFTS]


@cache
def _states() -> list[Window]:
    """List the windows along an axis: their length as a share, and their begin in values of a look."""
    found: list[Window] = []
    for share in SHARES:
        rest = SIDE * (1 - share)
        found += [(share, float(begin)) for begin in np.linspace(0, rest, math.ceil(rest / STEP - LEAST) + 1)]
    return found


@cache
def _pairs() -> list[tuple[int, int]]:
    """List the windows along rows and columns that are tried together: of one length, or cut along one axis only."""
    shares = [share for share, _ in _states()]
    numbers = range(len(shares))
    return [
        (i, j)
        for i in numbers
        for j in numbers
        if shares[i] == shares[j] < 1 or shares[i] < shares[j] == 1 or shares[j] < shares[i] == 1
    ]


def _sampling(windows: Sequence[Window]) -> Array:
    """Make matrices `(N, SIDE, SIDE)` that interpolate a window from a line; it may end beyond the line."""
    share, begin = (np.array(each)[:, None] for each in zip(*windows, strict=True))
    places = np.clip(share * (np.arange(SIDE) + 0.5) + begin - 0.5, 0, SIDE - 1)
    matrices: Array = np.maximum(1 - np.abs(places[:, :, None] - np.arange(SIDE)), 0).astype(np.float32)
    return matrices


@cache
def _near_sampling(number: int) -> tuple[Array, Array]:
    """Make the matrices of windows near a given one, whose values at the ends count less; also beside each other."""
    matrices = _taper()[:, None] * _sampling(_near(*_states()[number]))
    return matrices, np.concatenate(list(matrices), axis=1)


@cache
def _taper() -> Array:
    """Weigh the values of a line: those at its ends count little, as a border that was added changes them."""
    weights: Array = np.interp(np.arange(SIDE), (0, EDGE, SIDE - 1 - EDGE, SIDE - 1), (0.2, 1, 1, 0.2))
    return weights.astype(np.float32)


@cache
def _cosines() -> Array:
    """Compute cosine waves `(WAVES, SIDE)` of length 1."""
    angles = np.pi * np.arange(WAVES)[:, None] * (np.arange(SIDE) + 0.5) / SIDE
    waves = np.cos(angles) * _taper()
    unit: Array = (waves / np.linalg.norm(waves, axis=1, keepdims=True)).astype(np.float32)
    return unit


@cache
def _window_cosines() -> Array:
    """Compute the waves of all windows along an axis, `(windows * WAVES, SIDE)`."""
    matrices: Array = _cosines() @ _sampling(_states())
    return matrices.reshape(-1, SIDE)


def _stacked(looks: Sequence[Array | None], places: Sequence[int]) -> Array:
    return np.stack([look for look in (looks[place] for place in places) if look is not None]).astype(np.float32)


def _waves(looks: Array) -> Array:
    waves: Array = _cosines() @ looks @ _cosines().T
    return waves


def _formed_waves(waves: Array, form: Form) -> Array:
    """Compute the waves of mirrored and turned images: those of odd number change their sign."""
    turns, down, across = form
    signs = np.where(np.arange(WAVES) % 2, -1, 1).astype(np.float32)
    waves = np.swapaxes(waves, 1, 2) if turns else waves
    waves = waves * signs[:, None] if down else waves
    return waves * signs if across else waves


def _windows(looks: Array) -> Array:
    """Compute the waves of all windows of looks, `(looks * windows, WAVES * WAVES)`."""
    matrices, pairs = _window_cosines(), np.array(_pairs())
    waves = (matrices @ looks @ matrices.T).reshape(len(looks), -1, WAVES, len(matrices) // WAVES, WAVES)
    chosen = waves[:, pairs[:, 0], :, pairs[:, 1], :]  # windows come first
    return _units(np.swapaxes(chosen, 0, 1).reshape(-1, WAVES, WAVES))


def _units(waves: Array) -> Array:
    """Bring waves `(N, WAVES, WAVES)` to rows of length 1, without the mean."""
    rows = waves.reshape(len(waves), -1).copy()
    rows[:, 0] = 0
    units: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST)
    return units
