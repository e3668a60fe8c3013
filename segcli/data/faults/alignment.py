"""Masks that do not lie on what their image shows: shifted, or with foreground and background exchanged.

The outlines of the mask are moved over the edges of the image. Where most masks of a data set fit best without a shift,
one that fits much better elsewhere is shifted. A mask is inverted if both its share of foreground and the contrast
between its foreground and background are the opposite of those of the other masks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segcli.core.types import Array
from segcli.data.faults.reduced import mean_and_deviation

__all__ = ["Fit", "fit_of", "inverted", "shifted"]

SIDE = 160
"""Longer side of the pictures that are compared."""
REACH = 0.2
"""Largest shift that is looked for, as a share of the shorter side."""
FAR = 3
"""Smallest shift that is reported, in pixels of the compared picture."""
NEAR = 2
"""Shifts up to this many pixels are none."""
CLEAR, BETTER = 3.0, 1.0
"""Fit at the best place, and by how much it exceeds the fit without a shift, in standard deviations over all shifts."""
MOST = 0.7
"""Share of the masks that must agree before one is blamed."""
FEWEST = 4
OPPOSITE = 0.3
"""Smallest contrast that counts, in standard deviations of the image."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Describes how a mask lies on its image."""

    shift: tuple[int, int]
    """Rows and columns by which the mask fits best, in pixels of the compared picture."""
    best: float
    """Fit at this place, in standard deviations over all shifts."""
    here: float
    """Fit without a shift."""
    scale: float
    """Pixels of the image per pixel of the compared picture."""
    share: float
    """Share of the pixels that are not of class 0."""
    contrast: float
    """Difference of the means of foreground and background, in standard deviations of the image."""

    @property
    def is_clear(self) -> bool:
        """Tell whether the best place stands out."""
        return self.best >= CLEAR


def fit_of(image: Array, mask: Array) -> Fit | None:
    """Compare the outlines of a mask with the edges of its image; None if there are none.

    Args:
        image: The image `(h, w, C)`, which may be a smaller copy.
        mask: The mask `(H, W)`.
    """
    height, width = mask.shape
    factor = min(SIDE / max(height, width), 1.0)
    size = max(round(height * factor), 8), max(round(width * factor), 8)
    grey = cv2.extractChannel(image, image.shape[2] // 2)
    grey = grey if grey.dtype in (np.uint8, np.uint16) else grey.astype(np.float32)
    grey = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
    outline, edges = _outline(small), _edges(grey)
    if not outline.any() or edges is None:
        return None
    moved = _correlated(outline - outline.mean(), edges)
    reach = max(int(REACH * min(size)), NEAR + 1)
    places = np.arange(-reach, reach + 1)
    window = moved.take(places, 0, mode="wrap").take(places, 1, mode="wrap")
    row, column = np.unravel_index(int(window.argmax()), window.shape)
    inside = (small > 0).astype(np.uint8)
    share = cv2.countNonZero(inside) / inside.size
    contrast = 0.0
    if 0 < share < 1:
        there, elsewhere = (cv2.mean(grey, mask=each)[0] for each in (inside, 1 - inside))
        contrast = (there - elsewhere) / mean_and_deviation(grey)[1]
    near = slice(reach - NEAR, reach + NEAR + 1)
    here = float(window[near, near].max())
    return Fit((int(row) - reach, int(column) - reach), float(window.max()), here, 1 / factor, share, contrast)


def shifted(fits: Sequence[Fit | None]) -> Iterator[tuple[int | None, tuple[int, int]]]:
    """Find shifted masks among those of a data set.

    Yields:
        Position of the mask, or None for all masks together, and the rows and columns of the image by which it lies
        too far down and right.
    """
    clear = [(i, fit) for i, fit in enumerate(fits) if fit is not None and fit.is_clear]
    if len(clear) < FEWEST:
        return
    middle = np.median([fit.shift for _, fit in clear], axis=0)
    agreeing = [fit for _, fit in clear if np.abs(np.array(fit.shift) - middle).max() <= NEAR]
    if len(agreeing) < MOST * len(clear):
        return
    if np.abs(middle).max() >= FAR:
        yield None, _lies(middle, float(np.median([fit.scale for fit in agreeing])))
        return
    for i, fit in clear:
        if max(map(abs, fit.shift)) >= FAR and fit.best - fit.here >= BETTER:
            yield i, _lies(np.array(fit.shift), fit.scale)


def inverted(fits: Sequence[Fit | None]) -> Iterator[int]:
    """Find masks whose share of foreground and whose contrast are the opposite of those of most masks."""
    known = [(i, fit) for i, fit in enumerate(fits) if fit is not None and abs(fit.contrast) >= OPPOSITE]
    if len(known) < FEWEST:
        return
    sign = np.sign(np.median([fit.contrast for _, fit in known]))
    same = [fit for _, fit in known if np.sign(fit.contrast) == sign]
    if len(same) < MOST * len(known):
        return
    usual = float(np.median([fit.share for fit in same]))
    for i, fit in known:
        if np.sign(fit.contrast) != sign and abs(1 - fit.share - usual) < abs(fit.share - usual):
            yield i


def _correlated(outline: Array, edges: Array) -> Array:
    """Correlate two pictures under all shifts, in standard deviations over the shifts."""
    product = cv2.mulSpectrums(cv2.dft(edges), cv2.dft(outline), 0, conjB=True)
    moved: Array = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
    moved /= np.float32(max(mean_and_deviation(moved)[1], 1e-9))
    return moved


def _lies(shift: Array, scale: float) -> tuple[int, int]:
    return round(-float(shift[0]) * scale), round(-float(shift[1]) * scale)


def _outline(mask: Array) -> Array:
    outline = np.zeros(mask.shape, np.float32)
    rows, columns = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    outline[1:][rows] = outline[:-1][rows] = 1
    outline[:, 1:][columns] = outline[:, :-1][columns] = 1
    return outline


def _edges(grey: Array) -> Array | None:
    """Compute the strength of the edges, cut off so that no single one decides; None for a picture without edges."""
    strength = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    mean, spread = mean_and_deviation(strength)
    strength = np.minimum(strength, np.float32(mean + 2 * spread))
    mean, spread = mean_and_deviation(strength)
    return None if spread <= 1e-6 else (strength - np.float32(mean)) / np.float32(spread)
