"""Choose which parts of a plan become smaller where the memory of a GPU is not enough, and in which order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["LEAST_BATCH", "Room", "smaller_patches"]

LEAST_BATCH = 2
"""Patches of a step below which rather the patch becomes smaller (nnU-Net): the gradient of a single one is noisy, and
batch norm takes mean and deviation from it alone."""
TRIED = 8
"""Patches between the whole one and none."""


@dataclass(frozen=True)
class Room:
    """Says what of a plan a memory has room for."""

    patch: tuple[int, ...] | None = None
    """Size of the patch; None as the plan has it."""
    patch_reason: str = ""
    narrower: int = 0
    """Steps by which the network is narrower than the time allows."""
    batch: int = LEAST_BATCH


def smaller_patches(whole: Sequence[int], multiple: Sequence[int], part: int) -> Iterator[tuple[int, ...]]:
    """Shorten a patch step by step, the longest sides first, so that it comes near to a square or a cube.

    Args:
        whole: Size of the patch at first.
        multiple: Number of pixels of which each side must be a multiple.
        part: No side becomes shorter than this part of it, nor than two multiples.

    Example:
        >>> list(smaller_patches([512, 512], [16, 16], 2))
        [(448, 448), (384, 384), (320, 320), (256, 256)]
        >>> list(smaller_patches([20, 96, 96], [4, 16, 16], 2))
        [(20, 80, 80), (20, 64, 64), (20, 48, 48), (12, 48, 48)]
    """
    sides = list(zip(whole, multiple, strict=True))
    floors = [max(-(-side // part // by) * by, 2 * by) for side, by in sides]
    here = [max(side // by, 2) * by for side, by in sides]
    steps = [max(by, max(here) // TRIED // by * by) for by in multiple]
    if here != list(whole):
        yield tuple(here)
    while longest := max((side for side, floor in zip(here, floors, strict=True) if side > floor), default=0):
        here = [
            max(side - step, floor) if side == longest else side
            for side, step, floor in zip(here, steps, floors, strict=True)
        ]
        yield tuple(here)
