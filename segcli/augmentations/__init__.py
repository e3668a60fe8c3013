"""Augmentations of the user's own. This file holds the contract of each.

They stand in `data.augmentation.transforms`, `{type: my_augmentation.py:Name, ...}`, for images and volumes, and come
after all others, in their order.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from segcli.core.errors import ConfigError
from segcli.core.types import Array, ConfigModel
from segcli.data.samples import Sample

__all__ = ["Augmentations", "Transform"]

LEAST = 32
"""Length of each side of the image that tests a new augmentation, in pixels."""


class Transform(ABC):
    """A random change of an image and of all its maps together."""

    Config: ClassVar[type[ConfigModel]] = ConfigModel
    name: str = ""
    """Name for messages."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def __call__(
        self, image: Array, maps: dict[str, Array], rng: np.random.Generator
    ) -> tuple[Array, dict[str, Array]]:
        """Change a training image and its maps; sizes and types of numbers stay the same.

        Args:
            image: `(*S, C)`, uint8, uint16 or float32.
            maps: `mask` and, if there are any, `valid` and others by name, each `(*S)` or `(*S, K)`.
            rng: Only source of random numbers; it follows from the seed of the run, the epoch and the image.
        """


class Augmentations:
    """Applies an augmentation of segcli, if there is one, and then those of the user's own.

    Args:
        first: Augmentation of segcli.
        own: Augmentations of the user's own.
        shape: Shape `(*S, C)` of an image that tries them, so that errors are found before the training.
    """

    def __init__(
        self, first: Callable[[Sample, int], Sample] | None, own: Sequence[Transform], shape: tuple[int, ...]
    ) -> None:
        self.first, self.own = first, own
        size = (*(min(length, LEAST) for length in shape[:-1]), shape[-1])
        image = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
        for transform in own:
            _applied(transform, Sample(image, {"mask": (image[..., 0] > 127).astype(np.uint8)}), seed=(0, 0))

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Augment the sample; the same seed gives the same pixels."""
        changed = sample if self.first is None else self.first(sample, seed)
        for number, transform in enumerate(self.own):
            changed = _applied(transform, changed, seed=(seed, number))
        return changed


def _applied(transform: Transform, sample: Sample, seed: tuple[int, int]) -> Sample:
    image, maps = transform(sample.image.copy(), {name: each.copy() for name, each in sample.maps.items()}, _rng(seed))
    for name, old, new in (("image", sample.image, image), *((n, sample.maps[n], maps.get(n)) for n in sample.maps)):
        if not isinstance(new, np.ndarray) or new.shape != old.shape or new.dtype != old.dtype:
            what = f"{new.dtype} {new.shape}" if isinstance(new, np.ndarray) else type(new).__name__
            raise ConfigError(
                f"augmentation `{transform.name}` gives `{name}` as {what}, and got {old.dtype} {old.shape}",
                hint="return `image, maps` with the original sizes and types",
            )
    return Sample(
        image=np.ascontiguousarray(image), maps={name: np.ascontiguousarray(maps[name]) for name in sample.maps}
    )


def _rng(seed: tuple[int, int]) -> np.random.Generator:
    return np.random.default_rng((2, *seed))
