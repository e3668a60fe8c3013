"""Small images of one size through the network together, on a CPU. This module does not load PyTorch.

A call of the network costs as much as a small image itself. The kernels of a CPU are chosen by the shape of the batch,
and may add in another order than for a single image. So images share a call only if the network gives each image of a
batch of this shape the bits that it gives the image alone, which is tried out on noise: no result depends on the images
beside it.
"""

import math
from collections.abc import Callable
from typing import Generic

import numpy as np

from segcli.core.arrays import A
from segcli.engine.inference.arrays import Arrays

__all__ = ["SmallImages", "most_at_once"]

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


class SmallImages(Generic[A]):
    """Runs a network on several images at once, or on one after the other where that gives other bits.

    Args:
        forward: Network: maps inputs `(B, C, *S)` in float32 to raw outputs by name.
        arrays: Operations on its inputs and outputs.
        same: Tells by the shape of a batch whether each image gets the bits that it gets alone; is added to. Default:
            nothing is known yet.
    """

    def __init__(
        self,
        forward: Callable[[A], dict[str, A]],
        arrays: Arrays[A],
        same: dict[tuple[int, ...], bool] | None = None,
    ) -> None:
        self.forward: Callable[[A], dict[str, A]] = forward
        self.arrays: Arrays[A] = arrays
        self.same = {} if same is None else same

    def __call__(self, images: A) -> dict[str, A]:
        """Compute the outputs of each image; only as many as `most_at_once` share a call."""
        if len(images) == 1:
            return self.forward(images)
        if len(images) == most_at_once(tuple(images.shape[2:])) and self._are_same(images):
            return self.forward(images)
        return self._one_by_one(images)

    def _one_by_one(self, images: A) -> dict[str, A]:
        found = [self.forward(images[index : index + 1]) for index in range(len(images))]
        return {name: self.arrays.joined([outputs[name] for outputs in found]) for name in found[0]}

    def _are_same(self, images: A) -> bool:
        """Try the network on different images of noise, the same ones in every process."""
        shape = tuple(images.shape)
        if shape not in self.same:
            noise = self.arrays.xp.empty_like(images)
            noise[...] = self.arrays.xp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
            alone, together = self._one_by_one(noise), self.forward(noise)
            self.same[shape] = all(bool((alone[name] == together[name]).all()) for name in alone)
        return self.same[shape]
