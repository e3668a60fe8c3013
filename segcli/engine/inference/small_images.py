"""Small images of one size through the network together, on a CPU. This module does not load PyTorch.

A call of the network costs as much as a small image itself. The kernels of a CPU are chosen by the shape of the batch,
and may add in another order than for a single image. So images share a call only if the network gives each image of a
batch of this shape the bits that it gives the image alone, which is tried out on noise: no result depends on the images
beside it.
"""

import math
from collections.abc import Callable

import numpy as np

from segcli.core.types import Array

__all__ = ["SmallImages", "most_at_once"]

Forward = Callable[[Array], dict[str, Array]]
PIXELS = 2**15
"""Most pixels of the images of a call; from about as many on, a call gains nothing by further images."""
MOST = 8
"""Most images of a call."""


def most_at_once(size: tuple[int, ...]) -> int:
    """Count the 2D images of a size for one call of the network.

    Example:
        >>> [most_at_once((side, side)) for side in (32, 64, 96, 128, 192)]
        [8, 8, 3, 2, 1]
    """
    return max(min(PIXELS // math.prod(size), MOST), 1)


class SmallImages:
    """Runs a network on several images at once, or on one after the other where that gives other bits.

    Args:
        forward: Network: maps inputs `(B, C, *S)` in float32 to raw outputs by name.
    """

    def __init__(self, forward: Forward) -> None:
        self.forward = forward
        self.same: dict[tuple[int, ...], bool] = {}
        """Tells by the shape of a batch whether each image gets the bits that it gets alone."""

    def __call__(self, images: Array) -> dict[str, Array]:
        """Compute the outputs of each image."""
        if len(images) == 1 or self._are_same(images.shape):
            return self.forward(images)
        return self._one_by_one(images)

    def _one_by_one(self, images: Array) -> dict[str, Array]:
        found = [self.forward(images[index : index + 1]) for index in range(len(images))]
        return {name: np.concatenate([outputs[name] for outputs in found]) for name in found[0]}

    def _are_same(self, shape: tuple[int, ...]) -> bool:
        """Try the network on different images of noise, the same ones in every process."""
        if shape not in self.same:
            noise = np.random.default_rng(0).standard_normal(shape, np.float32)
            alone, together = self._one_by_one(noise), self.forward(noise)
            self.same[shape] = all(np.array_equal(alone[name], together[name]) for name in alone)
        return self.same[shape]
