"""What is done to a mask once it is found: small pieces go, holes are filled."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from segcli.core.errors import ConfigError, nearest
from segcli.core.types import Array, ConfigModel, Mask

__all__ = ["Cleaning", "Postprocess", "clean"]


class Cleaning(ConfigModel):
    """What is done to the mask of one class, in this order. Pixels that touch, at corners too, are one piece."""

    fill_holes: bool = False
    """Take in what the mask encloses."""
    min_size: Annotated[int, Field(ge=0)] = 0
    """Remove pieces of fewer pixels."""
    largest_component: bool = False
    """Remove all pieces but the largest."""

    @property
    def does_nothing(self) -> bool:
        """Whether every mask stays as it is."""
        return not (self.fill_holes or self.min_size > 1 or self.largest_component)


class Postprocess(Cleaning):
    """What is done to the masks of all classes, or of those that are named."""

    classes: dict[str, Cleaning] = {}
    """By the name of a class, instead of what stands beside; 2D images only."""

    def check(self, names: tuple[str, ...], ndim: int) -> None:
        """Whether it can be done to the masks of a run.

        Raises:
            ConfigError: There is no such class, or images are volumes.
        """
        for name in self.classes:
            if name not in names:
                close = nearest(name, list(names))
                raise ConfigError(
                    f"`inference.postprocess.classes` names `{name}`, which is no class of the data set",
                    hint=f"did you mean `{close}`?" if close else f"one of {', '.join(names)}",
                )
        if ndim != 2 and any(not self.of(name).does_nothing for name in names):
            raise ConfigError(f"`inference.postprocess` works on images of 2 axes, these have {ndim}")

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
        probs: `(K, H, W)`; left as they are.
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
    import cv2  # noqa: PLC0415 - completion of keys reads the settings above, and must be fast

    if wanted.fill_holes:
        mask = mask | _enclosed(mask)
    if wanted.min_size > 1 or wanted.largest_component:
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        sizes: Any = stats[:, cv2.CC_STAT_AREA]
        keep = sizes >= wanted.min_size
        keep[0] = False
        if wanted.largest_component and count > 1:
            keep &= np.arange(count) == 1 + int(np.argmax(sizes[1:]))
        mask = keep[labels]
    return mask


def _enclosed(mask: Mask) -> Mask:
    """Background that does not reach the border; it passes no corner at which two pixels of the mask touch."""
    import cv2  # noqa: PLC0415 - completion of keys reads the settings above, and must be fast

    _, labels = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    open_air = np.isin(labels, np.unique(border))
    enclosed: Mask = ~mask & ~open_air
    return enclosed
