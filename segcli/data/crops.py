"""Random crops of training images, some of them around the foreground."""

import numpy as np

from segcli.core.types import Array, Mask
from segcli.data.classes.counts import NUMBERS, class_counts
from segcli.data.samples import Sample

__all__ = ["random_crop"]

BLOCK = 4096
"""Pixels that are searched one by one."""


def random_crop(
    sample: Sample, size: tuple[int, ...], rng: np.random.Generator, foreground_share: float, *, by_class: bool
) -> Sample:
    """Cut a random window of `size`, or the whole axis where the image is smaller.

    Args:
        sample: The whole image; maps without `valid` count everywhere.
        size: Size of the crop.
        rng: Random numbers.
        foreground_share: Probability of a crop around the foreground.
        by_class: Draw the class of the pixel in the middle first.
    """
    room = [max(have - want, 0) for have, want in zip(sample.size, size, strict=True)]
    centred = rng.random() < foreground_share
    start = [int(rng.integers(0, free + 1)) for free in room]
    if centred and "mask" in sample.maps:
        start = _around_foreground(sample.maps, size, room, rng, by_class=by_class) or start
    window = tuple(slice(begin, begin + want) for begin, want in zip(start, size, strict=True))
    return Sample(image=sample.image[window], maps={name: values[window] for name, values in sample.maps.items()})


def _around_foreground(
    maps: dict[str, Array], size: tuple[int, ...], room: list[int], rng: np.random.Generator, *, by_class: bool
) -> list[int] | None:
    """Choose the start of a window around a random foreground pixel; with classes, draw the class first.

    None if the mask has no such pixel.
    """
    mask = maps["mask"]
    if mask.ndim > len(size):
        present = [number for number in range(mask.shape[-1]) if mask[..., number].any()]
        if not present:
            return None
        mask = mask[..., present[rng.integers(len(present))]]
    elif by_class:
        counts = maps["valid"] > 0 if "valid" in maps else None
        classes = np.flatnonzero(class_counts(mask, counts, NUMBERS))
        if not classes.size:
            return None
        mask = mask == int(classes[rng.integers(classes.size)])
        mask = mask if counts is None else mask & counts
    flat = mask.ravel()
    total = np.count_nonzero(flat)
    if not total:
        return None
    centre = np.unravel_index(_nth_foreground(flat, int(rng.integers(total))), mask.shape)
    return [int(min(max(int(at) - want // 2, 0), free)) for at, want, free in zip(centre, size, room, strict=True)]


def _nth_foreground(flat: Array | Mask, number: int) -> int:
    """Find the position of a foreground pixel by its number, counted from 0; counting halves is faster than a list.

    Example:
        >>> _nth_foreground(np.array([0, 3, 0, 1, 1], np.uint8), 2)
        4
    """
    start, stop = 0, flat.size
    while stop - start > BLOCK:
        middle = (start + stop) // 2
        before = int(np.count_nonzero(flat[start:middle]))
        if number < before:
            stop = middle
        else:
            number -= before
            start = middle
    return start + int(np.flatnonzero(flat[start:stop])[number])
