"""What is done to a mask once it is found, in 2D and 3D: small pieces go, holes are filled."""

from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from typing import Annotated

import numpy as np
from pydantic import Field

from segcli.core.errors import ConfigError, nearest
from segcli.core.types import Array, ConfigModel, Mask

__all__ = ["Cleaning", "Postprocess", "clean"]


class Cleaning(ConfigModel):
    """What is done to the mask of one class, in this order. What touches, at corners too, is one piece."""

    fill_holes: bool = False
    """Take in what the mask encloses."""
    min_size: Annotated[int, Field(ge=0)] = 0
    """Remove pieces of fewer pixels or voxels."""
    largest_component: bool = False
    """Remove all pieces but the largest."""

    @property
    def does_nothing(self) -> bool:
        """Whether every mask stays as it is."""
        return not (self.fill_holes or self.min_size > 1 or self.largest_component)


class Postprocess(Cleaning):
    """What is done to the masks of all classes, or of those that are named."""

    classes: dict[str, Cleaning] = {}
    """By the name of a class, instead of what stands beside."""

    def check(self, names: tuple[str, ...]) -> None:
        """Whether it can be done to the masks of a run.

        Raises:
            ConfigError: There is no such class.
        """
        for name in self.classes:
            if name not in names:
                close = nearest(name, list(names))
                raise ConfigError(
                    f"`inference.postprocess.classes` names `{name}`, which is no class of the data set",
                    hint=f"did you mean `{close}`?" if close else f"one of {', '.join(names)}",
                )

    def of(self, name: str) -> Cleaning:
        """What is done to one class."""
        return self.classes.get(name, self)

    def changes(self, names: tuple[str, ...]) -> bool:
        """Whether anything is done to any class."""
        return any(not self.of(name).does_nothing for name in names)


def clean(probs: Array, settings: Postprocess, names: tuple[str, ...], *, exclude: bool, threshold: float) -> Array:
    """Probabilities whose masks are clean: 0 where a piece was removed, 1 where a hole was filled.

    Of classes that exclude each other, a removed pixel falls to the most probable of the others.

    Args:
        probs: `(K, *S)`; left as they are.
        settings: What is done.
        names: Of the classes.
        exclude: Whether classes exclude each other.
        threshold: Of masks by themselves.
    """
    if not settings.changes(names):
        return probs
    probs = probs.copy()
    for index, name in enumerate(names):
        wanted = settings.of(name)
        if wanted.does_nothing:
            continue
        mask = probs.argmax(axis=0) == index if exclude else probs[index] >= threshold
        cleaned = _cleaned(mask, wanted)
        probs[index][mask & ~cleaned] = 0.0
        filled = cleaned & ~mask
        if exclude:
            probs[:, filled] = 0.0
        probs[index][filled] = 1.0
    return probs


def _cleaned(mask: Mask, wanted: Cleaning) -> Mask:
    if wanted.fill_holes:
        mask = mask | _enclosed(mask)
    if wanted.min_size > 1 or wanted.largest_component:
        labels, count = _pieces(mask, corners=True)
        sizes = np.bincount(labels.ravel(), minlength=count)
        keep = sizes >= wanted.min_size
        keep[0] = False
        if wanted.largest_component and count > 1:
            keep &= np.arange(count) == 1 + int(np.argmax(sizes[1:]))
        mask = keep[labels]
    return mask


def _enclosed(mask: Mask) -> Mask:
    """Background that does not reach the border; it passes no corner at which two pixels of the mask touch."""
    labels, count = _pieces(~mask, corners=False)
    is_open = np.zeros(count, bool)
    for axis in range(mask.ndim):
        for end in (0, -1):
            is_open[labels.take(end, axis)] = True
    enclosed: Mask = ~mask & ~is_open[labels]
    return enclosed


def _pieces(mask: Mask, *, corners: bool) -> tuple[Array, int]:
    """Number of its piece for each pixel, 0 outside the mask, and how many numbers there are with that one.

    Args:
        mask: `(H, W)` or `(D, H, W)`.
        corners: Whether pixels that touch at an edge or a corner alone are one piece.
    """
    import cv2  # noqa: PLC0415 - completion of keys reads the settings above, and must be fast

    connectivity = 8 if corners else 4
    if mask.ndim == 2:
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
        return labels, count
    labels, count = np.zeros(mask.shape, np.int32), 1
    for plane, numbers in zip(mask, labels, strict=True):
        more, found = cv2.connectedComponents(plane.astype(np.uint8), connectivity=connectivity)
        numbers[:] = np.where(found > 0, found + (count - 1), 0)
        count += more - 1
    roots = _joined(count, _contacts(labels, corners=corners))
    numbers_of_roots, packed = np.unique(roots, return_inverse=True)
    return packed.astype(np.int32)[labels], len(numbers_of_roots)


def _contacts(labels: Array, *, corners: bool) -> Iterator[tuple[int, int]]:
    """Pieces of neighbouring planes that touch, each pair at least once."""
    steps = (-1, 0, 1) if corners else (0,)
    height, width = labels.shape[1:]
    for below, above in pairwise(labels):
        for down, right in product(steps, steps):
            one = below[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
            other = above[max(down, 0) : height - max(-down, 0), max(right, 0) : width - max(-right, 0)]
            both = (one > 0) & (other > 0)
            pairs = np.stack([one[both], other[both]], axis=1)
            if len(pairs):
                differs = np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))  # along a row they mostly repeat
                yield from np.unique(pairs[differs], axis=0).tolist()


def _joined(count: int, contacts: Iterable[tuple[int, int]]) -> Array:
    """Smallest number that each of `count` numbers is joined with, directly or through others."""
    parents = list(range(count))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for one, other in contacts:
        first, second = root(one), root(other)
        parents[max(first, second)] = min(first, second)
    return np.array([root(number) for number in range(count)], np.int32)
