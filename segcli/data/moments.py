"""Mean and standard deviation of the pixels of many images, without holding more than one image."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from segcli.core.types import Array
from segcli.data.samples import Sample

__all__ = ["Moments"]

TOPS = {"uint8": 255.0, "uint16": 65535.0}
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
        scale = TOPS.get(sample.image.dtype.name, 1.0)
        values = sample.image[sample.valid].astype(np.float64) / scale
        if not len(values):
            return cls(0, np.zeros(values.shape[-1]), np.zeros(values.shape[-1]))
        means = values.mean(axis=0)
        return cls(len(values), means, ((values - means) ** 2).sum(axis=0))

    @classmethod
    def together(cls, parts: Iterable["Moments"]) -> "Moments":
        """Combine the moments of several images."""
        count, means, squares = 0, np.zeros(1), np.zeros(1)
        for part in parts:
            apart, total = part.means - means, max(count + part.count, 1)
            means = means + apart * (part.count / total)
            squares = squares + part.squares + apart**2 * (count * part.count / total)
            count += part.count
        return cls(count, means, squares)

    @property
    def mean(self) -> list[float]:
        """Return the mean of each channel."""
        found: list[float] = self.means.tolist()
        return found

    @property
    def std(self) -> list[float]:
        """Return the standard deviation of each channel; 0 where only rounding differs."""
        deviations = np.sqrt(self.squares / max(self.count, 1))
        found: list[float] = np.where(deviations <= ROUNDING * np.abs(self.means), 0.0, deviations).tolist()
        return found
