"""What is done to a mask once it is found, in 2D and 3D: small pieces go, holes are filled."""

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
            keep &= np.arange(count) == _largest(labels, sizes)
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
    if mask.ndim == 2:
        import cv2  # noqa: PLC0415 - completion of keys reads the settings above, and must be fast

        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8 if corners else 4)
        return labels, count
    from scipy import ndimage  # noqa: PLC0415 - likewise

    numbered, found = ndimage.label(mask, np.ones((3, 3, 3)) if corners else None)
    return numbered, found + 1


def _largest(labels: Array, sizes: Array) -> int:
    """Number of the largest piece; of several, the one first met in squares of 2 x 2 pixels, as OpenCV goes."""
    largest = np.flatnonzero(sizes[1:] == sizes[1:].max()) + 1
    if len(largest) == 1:
        return int(largest[0])
    places = np.nonzero(np.isin(labels, largest))
    *planes, rows, columns = places
    first = np.lexsort((columns // 2, rows // 2, *planes))[0]
    return int(labels[tuple(axis[first] for axis in places)])
