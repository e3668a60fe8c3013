"""Mean and standard deviation of the pixels of many images, without holding more than one image."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.samples import TOPS, Sample

__all__ = ["Moments", "rounded"]

DIGITS = 6
"""Significant digits of a mean or deviation: more would not change an image of 8 or 16 bits."""
CHUNK = 2**20
"""Pixels that are converted at once: a large photograph in float64 would take gigabytes in each thread."""
ROUNDING = 1e-9
"""Share of the mean below which a deviation is rounding."""


@dataclass(frozen=True)
class Moments:
    """Moments of the valid pixels of images on the scale 0 to 1 (of other types: as they are).

    They are combined by the formula of Chan, Golub and LeVeque (1983): sums of squares would lose digits.
    """

    count: int
    """Number of pixels."""
    means: Array
    """Mean of each channel, `(C,)`."""
    squares: Array
    """Sum of the squared deviations from the mean of each channel, `(C,)`."""

    @classmethod
    def of(cls, sample: Sample) -> "Moments":
        """Compute the moments of one image."""
        channels = sample.image.shape[-1]
        parts = (cls.of_pixels(pixels) for pixels in _chunks(sample))
        return cls.together([cls(0, np.zeros(channels), np.zeros(channels)), *parts])

    @classmethod
    def of_pixels(cls, pixels: Array) -> "Moments":
        """Compute the moments of pixels `(N, C)` as stored; there is one at least."""
        values = pixels.astype(np.float64) / TOPS.get(pixels.dtype.name, 1.0)
        means = values.mean(axis=0)
        return cls(len(values), means, ((values - means) ** 2).sum(axis=0))

    @classmethod
    def together(cls, parts: Iterable["Moments"]) -> "Moments":
        """Combine the moments of several images."""
        return reduce(cls.plus, parts, cls(0, np.zeros(1), np.zeros(1)))

    def plus(self, other: "Moments") -> "Moments":
        """Add the moments of another image."""
        apart, total = other.means - self.means, max(self.count + other.count, 1)
        means = self.means + apart * (other.count / total)
        squares = self.squares + other.squares + apart**2 * (self.count * other.count / total)
        return Moments(self.count + other.count, means, squares)

    @classmethod
    def of_all(cls, parts: Iterable["Moments"]) -> "Moments":
        """Combine the moments of all training images.

        Raises:
            DataError: No pixel counts.
        """
        moments = cls.together(parts)
        if moments.count == 0:
            raise DataError(
                "`mean` and `std` cannot be measured: no pixel of the training images counts",
                hint="look at the masks of the field of view, and at the classes that are ignored",
            )
        return moments

    @property
    def mean(self) -> list[float]:
        """Return the mean of each channel."""
        found: list[float] = self.means.tolist()
        return found

    @property
    def deviations(self) -> Array:
        """Return the standard deviation of each channel as computed, `(C,)`."""
        return np.sqrt(self.squares / max(self.count, 1))

    @property
    def std(self) -> list[float]:
        """Return the standard deviation of each channel; 0 where only rounding differs."""
        is_rounding = self.deviations <= ROUNDING * np.abs(self.means)
        found: list[float] = np.where(is_rounding, 0.0, self.deviations).tolist()
        return found


def rounded(mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
    """Round mean and standard deviation of each channel to the digits that are kept.

    A mean that is far from 0 keeps the digits of the deviation, because pixels are divided by it.
    """
    pairs = list(zip(mean, std, strict=True))
    return [_rounded(one, (one, other)) for one, other in pairs], [_rounded(other, (other,)) for _, other in pairs]


def _rounded(value: float, beside: Iterable[float]) -> float:
    """Round to the significant digits of the smallest of these numbers.

    Example:
        >>> _rounded(0.000123456789, [0.000123456789]), _rounded(1000.123456, [1000.123456, 0.002])
        (0.000123457, 1000.123456)
    """
    sizes = [abs(number) for number in beside if number]
    return round(value, DIGITS - 1 - math.floor(math.log10(min(sizes)))) if sizes else value


def _chunks(sample: Sample) -> Iterator[Array]:
    """Cut the valid pixels of an image into parts `(N, C)`."""
    pixels, valid = sample.image.reshape(-1, sample.image.shape[-1]), sample.valid.ravel()
    for start in range(0, len(pixels), CHUNK):
        chosen = pixels[start : start + CHUNK][valid[start : start + CHUNK]]
        if len(chosen):
            yield chosen
