"""Postprocessing of predicted masks in 2D and 3D: remove small components, fill holes."""

from typing import Annotated

import numpy as np
from pydantic import Field

from segcli.core.errors import ConfigError, nearest
from segcli.core.types import Array, ConfigModel, Mask

__all__ = ["Cleaning", "Postprocess", "clean"]


class Cleaning(ConfigModel):
    """Sets the postprocessing of one class, in this order. Pixels that touch, also at corners, are one component."""

    fill_holes: bool = False
    """Fill background that the mask encloses."""
    min_size: Annotated[int, Field(ge=0)] = 0
    """Remove connected components with fewer pixels or voxels."""
    largest_component: bool = False
    """Keep only the largest connected component."""

    @property
    def does_nothing(self) -> bool:
        """Tell whether every mask stays unchanged."""
        return not (self.fill_holes or self.min_size > 1 or self.largest_component)


class Postprocess(Cleaning):
    """Sets the postprocessing of all classes, or of the named classes."""

    classes: dict[str, Cleaning] = {}
    """Postprocessing by the name of a class; replaces the keys beside it for this class."""

    def check(self, names: tuple[str, ...]) -> None:
        """Check that each named class exists.

        Raises:
            ConfigError: A named class does not exist.
        """
        for name in self.classes:
            if name not in names:
                close = nearest(name, list(names))
                raise ConfigError(
                    f"`inference.postprocess.classes` names `{name}`, which is not a class of the data set",
                    hint=f"did you mean `{close}`?" if close else f"one of {', '.join(names)}",
                )

    def of(self, name: str) -> Cleaning:
        """Return the settings of one class."""
        return self.classes.get(name, self)

    def changes(self, names: tuple[str, ...]) -> bool:
        """Tell whether the mask of any class can change."""
        return any(not self.of(name).does_nothing for name in names)


def clean(probs: Array, settings: Postprocess, names: tuple[str, ...], *, exclude: bool, threshold: float) -> Array:
    """Postprocess probabilities: 0 where a component was removed, 1 where a hole was filled.

    If classes exclude each other, a removed pixel goes to the most probable of the other classes.

    Args:
        probs: `(K, *S)`; not changed in place.
        settings: Postprocessing of the classes.
        names: Names of the classes.
        exclude: Whether classes exclude each other.
        threshold: Threshold of masks that may overlap.
    """
    if not settings.changes(names):
        return probs
    probs = probs.copy()
    for index, name in enumerate(names):
        steps = settings.of(name)
        if steps.does_nothing:
            continue
        mask = probs.argmax(axis=0) == index if exclude else probs[index] >= threshold
        cleaned = _cleaned(mask, steps)
        probs[index][mask & ~cleaned] = 0.0
        filled = cleaned & ~mask
        if exclude:
            probs[:, filled] = 0.0
        probs[index][filled] = 1.0
    return probs


def _cleaned(mask: Mask, steps: Cleaning) -> Mask:
    if steps.fill_holes:
        mask = mask | _enclosed(mask)
    if steps.min_size > 1 or steps.largest_component:
        labels, count = _pieces(mask, corners=True)
        sizes = np.bincount(labels.ravel(), minlength=count)
        keep = sizes >= steps.min_size
        keep[0] = False
        if steps.largest_component and count > 1:
            keep &= np.arange(count) == _largest(labels, sizes)
        mask = keep[labels]
    return mask


def _enclosed(mask: Mask) -> Mask:
    """Find background that does not reach the border; background pixels are not connected at corners."""
    labels, count = _pieces(~mask, corners=False)
    is_open = np.zeros(count, bool)
    for axis in range(mask.ndim):
        for end in (0, -1):
            is_open[labels.take(end, axis)] = True
    enclosed: Mask = ~mask & ~is_open[labels]
    return enclosed


def _pieces(mask: Mask, *, corners: bool) -> tuple[Array, int]:
    """Label the connected components; return the labels (0 outside the mask) and their count, 0 included.

    Args:
        mask: `(H, W)` or `(D, H, W)`.
        corners: Whether pixels that touch only at an edge or a corner are one component.
    """
    if mask.ndim == 2:
        import cv2  # noqa: PLC0415 - completion of keys imports the settings above and must be fast

        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8 if corners else 4)
        return labels, count
    from scipy import ndimage  # noqa: PLC0415 - likewise

    numbered, found = ndimage.label(mask, np.ones((3, 3, 3)) if corners else None)
    return numbered, found + 1


def _largest(labels: Array, sizes: Array) -> int:
    """Return the label of the largest component; of equals, the first in 2 x 2 blocks of pixels, as in OpenCV."""
    largest = np.flatnonzero(sizes[1:] == sizes[1:].max()) + 1
    if len(largest) == 1:
        return int(largest[0])
    places = np.nonzero(np.isin(labels, largest))
    *planes, rows, columns = places
    first = np.lexsort((columns // 2, rows // 2, *planes))[0]
    return int(labels[tuple(axis[first] for axis in places)])
