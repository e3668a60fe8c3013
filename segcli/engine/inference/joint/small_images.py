"""Small images of one size through the network together, on a CPU.

A call of the network costs as much as a small image itself. The kernels of a CPU are chosen by the shape of the batch,
and may add in another order than for a single image. So images share a call only if the network gives each image of a
batch of this shape the bits that it gives the image alone, which is tried out on noise: no result depends on the images
beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic

import numpy as np
import torch

from segcli.core.arrays import A
from segcli.engine.inference.arrays import Arrays
from segcli.engine.inference.joint.sizes import MANY, most_at_once
from segcli.engine.runtime import random_state, restore_random_state

__all__ = ["SmallImages", "Tried"]

CPU = torch.device("cpu")


@dataclass
class Tried:
    """Remembers what was tried with a network."""

    same: dict[tuple[int, ...], bool] = field(default_factory=dict)
    """True for a shape of a batch in which each image gets the bits that it gets alone."""
    images: int = 0
    """Images that the network was given in groups so far."""


class SmallImages(Generic[A]):
    """Runs a network on several images at once, or on one after the other where that gives other bits.

    Args:
        forward: Network: maps inputs `(B, C, *S)` in float32 to raw outputs by name.
        arrays: Operations on its inputs and outputs.
        tried: What is known of the network; is added to. Default: nothing yet.
    """

    def __init__(
        self,
        forward: Callable[[A], dict[str, A]],
        arrays: Arrays[A],
        tried: Tried | None = None,
    ) -> None:
        self.forward: Callable[[A], dict[str, A]] = forward
        self.arrays: Arrays[A] = arrays
        self.tried = Tried() if tried is None else tried

    def __call__(self, images: A) -> dict[str, A]:
        """Compute the outputs of each image; only as many as `most_at_once` share a call."""
        if len(images) == 1:
            return self.forward(images)
        self.tried.images += len(images)
        if len(images) == most_at_once(tuple(images.shape[2:])) and self._are_same(images):
            return self.forward(images)
        return self._one_by_one(images)

    def _one_by_one(self, images: A) -> dict[str, A]:
        found = [self.forward(images[index : index + 1]) for index in range(len(images))]
        return {name: self.arrays.joined([outputs[name] for outputs in found]) for name in found[0]}

    def _are_same(self, images: A) -> bool:
        """Try the network on noise, once for each shape; what it draws at random later does not depend on that.

        Further shapes wait until enough images have come, so that many sizes do not cost more than they gain.
        """
        shape, same = tuple(images.shape), self.tried.same
        if shape not in same and self.tried.images >= MANY * len(same):
            random = random_state(CPU)
            try:
                same[shape] = self._keeps_noise(images)
            except Exception:  # whatever a network of the user's own does with noise, or with several images
                same[shape] = False
            finally:
                restore_random_state(random, CPU)
        return same.get(shape, False)

    def _keeps_noise(self, like: A) -> bool:
        """Compare the outputs of different images of noise, the same ones in every process, with those of each."""
        noise = self.arrays.xp.empty_like(like)
        noise[...] = self.arrays.xp.asarray(np.random.default_rng(0).standard_normal(tuple(like.shape), np.float32))
        alone, together = self._one_by_one(noise), self.forward(noise)
        return all(
            values.shape == together[name].shape and bool((values == together[name]).all())
            for name, values in alone.items()
        )
