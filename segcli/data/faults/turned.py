"""Masks in all mirrored and turned forms, compared with their image as they are, without a shift."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import permutations, product

import numpy as np

from segcli.core.types import Array
from segcli.data.faults.alignment import fit_of
from segcli.data.faults.seen import PICTURE, plane_of, volume_of
from segcli.data.faults.volume_alignment import image_details, mask_details, steps_of
from segcli.data.samples import Sample

__all__ = ["AXES", "Looked", "looked_at", "turns_of"]

AXES = ("first", "second", "third")
TURNS: dict[str, Callable[[Array], Array]] = {
    "be mirrored from left to right": lambda mask: mask[:, ::-1],
    "be mirrored from top to bottom": lambda mask: mask[::-1],
    "be turned by 180 degrees": lambda mask: mask[::-1, ::-1],
    "be turned by 90 degrees to the right": lambda mask: np.rot90(mask, 1),
    "be turned by 90 degrees to the left": lambda mask: np.rot90(mask, -1),
    "have rows and columns exchanged": np.transpose,
    "have rows and columns exchanged and reversed": lambda mask: mask[::-1, ::-1].T,
}
"""Ways to turn a mask `(H, W)` back, by what was done to it."""


class Looked(ABC):
    """Holds an image with its mask."""

    mask: Array
    """The mask, or its details."""

    def shift(self, needed: float) -> str:
        """Tell how far the mask lies from where it fits best, if it fits as well as needed there."""
        return ""

    @abstractmethod
    def fit(self, mask: Array) -> float:
        """Compute how well another mask, or this one in another form, fits the image."""


class _Picture(Looked):
    def __init__(self, image: Array, mask: Array) -> None:
        self.image, self.mask = image, mask

    def fit(self, mask: Array) -> float:
        """Compare outlines with edges."""
        if mask.shape != self.mask.shape:
            return 0.0
        found = fit_of(self.image, np.ascontiguousarray(mask), thoroughly=True)
        return 0.0 if found is None else found.here


class _Volume(Looked):
    def __init__(self, details: Array, mask: Array, steps: tuple[int, ...]) -> None:
        self.details, self.mask, self.steps = details, mask, steps

    def shift(self, needed: float) -> str:
        """Correlate details under all shifts."""
        size = self.mask.shape
        fits = np.fft.irfftn(np.fft.rfftn(self.details) * np.fft.rfftn(self.mask).conj(), size, axes=(0, 1, 2))
        place = np.unravel_index(int((fits / needed).argmax()), size)
        if fits[place] / needed < 1:
            return ""
        way = [int(at) - length * (2 * int(at) > length) for at, length in zip(place, size, strict=True)]
        parts = [
            f"{abs(amount) * step} voxels too far {'back' if amount > 0 else 'on'} along its {name} axis"
            for amount, step, name in zip(way, self.steps, AXES, strict=True)
            if amount
        ]
        return f"lie {' and '.join(parts)}"

    def fit(self, mask: Array) -> float:
        """Correlate details."""
        return float((mask * self.details).sum()) if mask.shape == self.details.shape else 0.0


def looked_at(sample: Sample) -> Looked | None:
    """Hold the image and the mask of a sample; None without details."""
    if sample.image.ndim == PICTURE:
        plane = plane_of(sample)
        return None if plane is None else _Picture(*plane)
    volume = volume_of(sample)
    if volume is None:
        return None
    image, mask = volume
    shape = mask_details(mask)
    details = None if shape is None else image_details(image)
    return None if details is None or shape is None else _Volume(details, shape, steps_of(mask.shape))


def turns_of(mask: Array) -> Iterator[tuple[str, Array]]:
    """List the other forms of a mask with what was done to it, the simplest first."""
    if mask.ndim == 2:
        yield from ((words, turn(mask)) for words, turn in TURNS.items())
        return
    for order in permutations(range(3)):
        for steps in product((1, -1), repeat=3):
            words = _words(order, steps)
            if words:
                yield words, mask[tuple(slice(None, None, step) for step in steps)].transpose(order)


def _words(order: tuple[int, ...], steps: tuple[int, ...]) -> str:
    """Say what was done to a volume; nothing for one as it was."""
    moved = [AXES[axis] for axis, place in enumerate(order) if axis != place]
    turned = [AXES[axis] for axis, step in enumerate(steps) if step < 0]
    reversed_ = f"be reversed along its {_listed(turned)} axis" if turned else ""
    exchanged = f"have its {_listed(moved)} axis exchanged" if moved else ""
    return " and ".join(filter(None, (reversed_, exchanged)))


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
