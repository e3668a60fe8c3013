"""Masks that do not lie on what their image shows: shifted, or with foreground and background exchanged.

The outlines of the mask are moved over the edges of the image and, in doubt, its areas over what is brighter or darker
than its surroundings. Where most masks of a data set fit best without a shift, one that fits much better elsewhere is
shifted. A mask is inverted if both its share of foreground and the contrast between its foreground and background are
the opposite of those of the other masks.
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
MUCH_LARGER = 2
"""From this many times the size on, pixels between those that are averaged would be left out."""
REACH = 0.25
"""Largest shift that is looked for, as a share of the shorter side."""
FAR = 3
"""Smallest shift that is reported, in pixels of the compared picture."""
SAME = 2
"""Shifts that differ by no more pixels are the same."""
NEAR = 1
"""Shifts up to this many pixels are none."""
CLEAR, BETTER = 4.5, 1.5
"""Fit at the best place, and by how much it exceeds the fit without a shift, in standard deviations over all shifts."""
LEAST_OUTLINE = 40
"""Pixels of the outlines of a mask; fewer fit well somewhere by chance."""
MUCH_WORSE = 0.75
"""Largest fit without a shift, as a share of that at the best place, with which a mask is shifted."""
CLEAR_ONES = 0.5
"""Share of the masks whose best place must stand out before one is blamed."""
AS_USUAL, CERTAIN = 0.9, 6.0
"""Least fit of a shifted mask at the best place: a share of the median of all masks, or a number of deviations."""
MOST = 0.7
"""Share of the masks that must agree before one is blamed."""
FEWEST = 4
SURROUNDINGS = 15
"""Side of the square around a pixel with which it is compared."""
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
    skew: float = 0.0
    """Skew of the values of the image: above 0 if few are far above the others."""

    @property
    def is_clear(self) -> bool:
        """Tell whether the best place stands out."""
        return self.best >= CLEAR

    @property
    def is_better(self) -> bool:
        """Tell whether the mask fits there much better than where it is; along straight layers it fits anywhere."""
        return self.best - self.here >= BETTER and self.here <= MUCH_WORSE * self.best


def fit_of(image: Array, mask: Array, *, thoroughly: bool = False) -> Fit | None:
    """Compare the outlines of a mask with the edges of its image; None if there are none.

    Args:
        image: The image `(h, w, C)`, which may be a smaller copy.
        mask: The mask `(H, W)`.
        thoroughly: Look at the areas even where the outlines are clear, so that fits can be compared with each other.
    """
    height, width = mask.shape
    factor = min(SIDE / max(height, width), 1.0)
    size = max(round(height * factor), 8), max(round(width * factor), 8)
    channel = image[:, :, 0] if image.shape[2] == 1 else cv2.extractChannel(image, image.shape[2] // 2)
    grey = _shrunk(channel, size)
    small = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
    outline, edges = _outline(small), _edges(grey)
    length = cv2.countNonZero(outline)
    if not length or edges is None:
        return None
    inside = (small > 0).view(np.uint8)
    reach = max(int(REACH * min(size)), NEAR + 1)
    outlines = _Fits.of(outline.astype(np.float32), edges)
    window = outlines.window(reach)
    if thoroughly or window.max() < CLEAR or window.max() > _near(window, reach).max():  # else the areas add nothing
        areas = _Fits.of(_details(inside.astype(np.float32)), _details(grey))
        window = max(outlines.windows_with(areas, reach), key=lambda fits: fits.max())
    row, column = divmod(int(window.argmax()), window.shape[1])
    tells = length >= LEAST_OUTLINE
    best, here = (float(each.max()) if tells else 0.0 for each in (window, _near(window, reach)))
    return Fit((row - reach, column - reach), best, here, 1 / factor, *_share_contrast_skew(grey, inside))


def _shrunk(channel: Array, size: tuple[int, int]) -> Array:
    """Resize a channel `(H, W)`, float32; each pixel is the mean of an area, or of its neighbours in a similar size."""
    channel = channel if channel.dtype in (np.uint8, np.uint16) else channel.astype(np.float32)
    is_near = channel.shape[0] < MUCH_LARGER * size[0] and channel.shape[1] < MUCH_LARGER * size[1]
    how = cv2.INTER_LINEAR if is_near else cv2.INTER_AREA  # several times faster than to weigh areas
    return cv2.resize(channel, size[::-1], interpolation=how).astype(np.float32)


def _share_contrast_skew(grey: Array, inside: Array) -> tuple[float, float, float]:
    """Compute the share of the foreground, by how many deviations it is brighter than the rest, and the skew."""
    count = cv2.countNonZero(inside)
    if not 0 < count < inside.size:
        return count / inside.size, 0.0, 0.0
    mean, spread = mean_and_deviation(grey)
    there = float(np.vdot(grey, inside.astype(np.float32))) / count
    elsewhere = (mean * inside.size - there * count) / (inside.size - count)
    far = (grey - np.float32(mean)) / np.float32(spread)
    return count / inside.size, (there - elsewhere) / spread, float(np.vdot(far * far, far)) / far.size


def shifted(fits: Sequence[Fit | None]) -> Iterator[tuple[int | None, tuple[int, int]]]:
    """Find shifted masks among those of a data set.

    Yields:
        Position of the mask, or None for all masks together, and the rows and columns of the image by which it lies
        too far down and right.
    """
    known = [fit for fit in fits if fit is not None and fit.best > 0]
    clear = [(i, fit) for i, fit in enumerate(fits) if fit is not None and fit.is_clear]
    if len(clear) < max(FEWEST, CLEAR_ONES * len(known)):
        return  # edges of the images tell too little of where the masks are
    least = min(AS_USUAL * float(np.median([fit.best for fit in known])), CERTAIN)
    middle = np.median([fit.shift for _, fit in clear], axis=0)
    agreeing = [fit for _, fit in clear if np.abs(np.array(fit.shift) - middle).max() <= SAME]
    if len(agreeing) < MOST * len(clear):
        return
    if np.abs(middle).max() >= FAR:
        if sum(fit.is_better for fit in agreeing) < MOST * len(agreeing):
            return
        yield None, _lies(middle, float(np.median([fit.scale for fit in agreeing])))
        return
    for i, fit in clear:
        if max(map(abs, fit.shift)) >= FAR and fit.is_better and fit.best >= least:
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


@dataclass(frozen=True, slots=True)
class _Fits:
    """Holds how well two pictures fit under all shifts, with a mean of 0."""

    fits: Array
    """Correlation by rows and columns of the shift; those up and left are at the ends."""
    deviation: float

    @classmethod
    def of(cls, shape: Array, picture: Array) -> "_Fits":
        """Correlate a shape with a picture; their means do not count."""
        product = cv2.mulSpectrums(cv2.dft(picture), cv2.dft(shape), 0, conjB=True)
        product[0, 0] = 0.0  # the product of both sums
        fits = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
        return cls(fits, max(float(np.vdot(fits, fits) / fits.size) ** 0.5, 1e-9))

    def window(self, reach: int) -> Array:
        """Take the fits of shifts up to `reach` in standard deviations over all shifts.

        The first is that of the largest shift up and left.
        """
        parts = [np.concatenate([rows[:, -reach:], rows[:, : reach + 1]], axis=1) for rows in self._rows(reach)]
        window: Array = np.concatenate(parts) / np.float32(self.deviation)
        return window

    def windows_with(self, other: "_Fits", reach: int) -> list[Array]:
        """Take the windows of the sum and of the difference of both, in standard deviations.

        The shapes may be brighter or darker than their surroundings.
        """
        alike = float(np.vdot(self.fits, other.fits) / self.fits.size) / (self.deviation * other.deviation)
        one, two = self.window(reach), other.window(reach)
        sums = ((one + two, 2 + 2 * alike), (one - two, 2 - 2 * alike))
        return [both / np.float32(max(square, 1e-9) ** 0.5) for both, square in sums]

    def _rows(self, reach: int) -> tuple[Array, Array]:
        return self.fits[-reach:], self.fits[: reach + 1]


def _near(window: Array, reach: int) -> Array:
    """Take the fits of shifts that are none."""
    middle = slice(reach - NEAR, reach + NEAR + 1)
    return window[middle, middle]


def _details(picture: Array) -> Array:
    """Subtract the mean of the surroundings, and cut off what is far from it, so that no bright spot decides."""
    detail = cv2.subtract(cv2.blur(picture, (3, 3)), cv2.blur(picture, (SURROUNDINGS, SURROUNDINGS)))
    mean, spread = mean_and_deviation(detail)
    return np.clip(detail, np.float32(mean - 2 * spread), np.float32(mean + 2 * spread), out=detail)


def _lies(shift: Array, scale: float) -> tuple[int, int]:
    return round(-float(shift[0]) * scale), round(-float(shift[1]) * scale)


def _outline(mask: Array) -> Array:
    """Mark the pixels beside another value with 1, uint8."""
    outline = np.zeros(mask.shape, np.uint8)
    rows, columns = (mask[1:] != mask[:-1]).view(np.uint8), (mask[:, 1:] != mask[:, :-1]).view(np.uint8)
    for beside in (outline[1:], outline[:-1]):
        np.bitwise_or(beside, rows, out=beside)
    for beside in (outline[:, 1:], outline[:, :-1]):
        np.bitwise_or(beside, columns, out=beside)
    return outline


def _edges(grey: Array) -> Array | None:
    """Compute the strength of the edges, cut off so that no single one decides; None for a picture without edges."""
    strength = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    mean, spread = mean_and_deviation(strength)
    return None if spread <= 1e-6 else np.minimum(strength, np.float32(mean + 2 * spread))
