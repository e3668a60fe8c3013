"""A case of a data set, its pixels, and the way to and from the network's size."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segcli.core.arrays import A
from segcli.core.types import Array, Mask

__all__ = ["Case", "Geometry", "Sample", "as_unit", "interpolated", "pad_end", "padded_size", "resize"]


@dataclass(frozen=True)
class Case:
    """One image of a data set and what belongs to it."""

    id: str
    """Name within its split; the stem of predictions and the key in tables."""
    image: Path
    label: Path | None = None
    fov: Path | None = None
    """Mask of the field of view."""
    index: int | None = None
    """Position in a file that holds many cases."""
    group: str | None = None
    """Scenario, where the data set has some; results are told by group as well."""
    part_of: str | None = None
    """Name of the sample that this is a crop of; the answers of its crops are joined."""

    @property
    def place(self) -> str:
        """Where the image is, for messages."""
        return str(self.image) if self.index is None else f"{self.image}[{self.index}]"


@dataclass
class Sample:
    """Decoded pixels of one case."""

    image: Array
    """`(*S, C)` as stored: uint8, uint16 or float32."""
    maps: dict[str, Array] = field(default_factory=dict)
    """Whatever moves with the image, each `(*S)`: `mask`, and `valid` where not every pixel counts, both uint8; maps of
    values, such as a depth, are float32. Several masks that may overlap are one map `(*S, K)`."""
    facts: dict[str, Array] = field(default_factory=dict)
    """What is known of the whole and does not move with the image, such as `class`, a number."""
    stored_maps: dict[str, Array] = field(default_factory=dict)
    """The maps before resizing, where they were resized; predictions are scored on these."""

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size."""
        return self.image.shape[:-1]

    @property
    def valid(self) -> Mask:
        """Pixels that count, `(*S)`: all of them where no map says otherwise."""
        mask: Mask = self.maps.get("valid", np.ones(self.size, np.uint8)) > 0
        return mask


@dataclass(frozen=True)
class Geometry:
    """Sizes on the way from the file to the network, and the exact way back."""

    stored: tuple[int, ...]
    """As in the file."""
    resized: tuple[int, ...]
    """After resizing."""
    padded: tuple[int, ...]
    """After padding; what the network sees."""

    def restore(self, values: A, resized: Callable[[A, tuple[int, ...]], A]) -> A:
        """Bring `(B, K, *padded)` back to `(B, K, *stored)`: the padding is cut off, then the size is undone.

        Args:
            values: Outputs of the network.
            resized: Gives values at another size; `interpolated` for arrays.
        """
        window: Any = (..., *(slice(0, size) for size in self.resized))
        values = values[window]
        return values if self.resized == self.stored else resized(values, self.stored)


def interpolated(values: Array, size: tuple[int, ...]) -> Array:
    """Values `(..., *S)` in float32 at another size of their last axes, as `F.interpolate` has them.

    Linear along each axis, `align_corners=False`, without smoothing downwards.
    """
    for axis, length in enumerate(size, start=values.ndim - len(size)):
        values = _along(values, axis, length)
    return values


def _along(values: Array, axis: int, size: int) -> Array:
    """Linear interpolation along one axis, with the centres of pixels aligned."""
    have = values.shape[axis]
    if have == size:
        return values
    at = np.maximum((np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(have / size) - 0.5, 0.0)
    below = np.minimum(at.astype(np.intp), have - 1)
    above = np.minimum(below + 1, have - 1)
    share = (at - below).astype(np.float32).reshape([-1 if axis == i else 1 for i in range(values.ndim)])
    blended: Array = values.take(below, axis) * (1 - share) + values.take(above, axis) * share
    return blended


def as_unit(image: Array) -> Array:
    """Stored pixels as float32; whole numbers without sign on the scale 0 to 1."""
    scale = {"uint8": 255.0, "uint16": 65535.0}.get(image.dtype.name, 1.0)
    unit: Array = image.astype(np.float32) / np.float32(scale)
    return unit


def resize(pixels: Array, size: tuple[int, ...], *, labels: bool = False) -> Array:
    """Resize `(H, W)` or `(H, W, C)`; labels by the nearest pixel, images smoothly and, downwards, by area."""
    if pixels.shape[: len(size)] == size:
        return pixels
    if len(size) == 3:
        return _resize_volume(pixels, size, labels=labels)
    smaller = size[0] <= pixels.shape[0] and size[1] <= pixels.shape[1]
    # INTER_NEAREST_EXACT takes pixel centres as INTER_AREA and INTER_LINEAR do; INTER_NEAREST shifts by half a pixel.
    method = cv2.INTER_NEAREST_EXACT if labels else cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized: Array = cv2.resize(pixels, (size[1], size[0]), interpolation=method)
    return resized.reshape(*size, *pixels.shape[2:])


def _resize_volume(pixels: Array, size: tuple[int, ...], *, labels: bool) -> Array:
    if labels:
        for axis, length in enumerate(size):
            have = pixels.shape[axis]
            at = ((np.arange(length, dtype=np.float32) + np.float32(0.5)) * np.float32(have / length)).astype(np.intp)
            pixels = pixels.take(np.minimum(at, have - 1), axis)
        return pixels
    channels = np.moveaxis(pixels.reshape(*pixels.shape[:3], -1), -1, 0)
    values = np.moveaxis(interpolated(channels.astype(np.float32), size), 0, -1)
    values = np.rint(values) if pixels.dtype.kind in "iu" else values
    return np.ascontiguousarray(values.astype(pixels.dtype).reshape(*size, *pixels.shape[3:]))


def padded_size(size: tuple[int, ...], multiple: int, at_least: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Next sizes that are multiples of `multiple`.

    Example:
        >>> padded_size((999, 960), 32)
        (1024, 960)
    """
    wanted = size if at_least is None else tuple(max(pair) for pair in zip(size, at_least, strict=True))
    return tuple(-(-length // multiple) * multiple for length in wanted)


def pad_end(pixels: Array, size: tuple[int, ...], *, mirror: bool) -> Array:
    """Pad the end of each spatial axis up to `size`, by mirrored pixels or by 0."""
    widths = [(0, wanted - have) for wanted, have in zip(size, pixels.shape, strict=False)]
    widths += [(0, 0)] * (pixels.ndim - len(size))
    if not any(after for _, after in widths):
        return pixels
    return np.pad(pixels, widths, mode="symmetric") if mirror else np.pad(pixels, widths)
