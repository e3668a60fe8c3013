"""A case of a data set, its pixels, and resizing to the network's size and back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segcli.core.arrays import A
from segcli.core.types import Array, Mask

__all__ = [
    "TOPS",
    "Case",
    "Geometry",
    "Sample",
    "as_unit",
    "example_of",
    "interpolated",
    "pad_end",
    "padded_size",
    "resize",
]

TOPS = {"uint8": 255.0, "uint16": 65535.0}
"""Value that becomes 1, for each type of pixels that is scaled to 0 to 1."""


@dataclass(frozen=True, slots=True)
class Case:
    """Describes one image of a data set and its label."""

    id: str
    """Name within the split; the stem of predictions and the key in tables."""
    image: Path
    label: Path | None = None
    fov: Path | None = None
    """Mask of the field of view."""
    index: int | None = None
    """Position in a file that holds many cases."""
    group: str | None = None
    """Scenario, if the data set has scenarios; results are also reported by group."""
    part_of: str | None = None
    """Name of the sample that this case is a crop of; the predictions of its crops are averaged."""
    others: tuple[Path, ...] = ()
    """Further files of the image: its next channels."""
    class_files: tuple[Path | None, ...] = ()
    """File of each class, where each class has a mask of its own; None for one that is missing. `label` is the first
    that is there."""

    @property
    def place(self) -> str:
        """Return the path of the image, with its index, for messages."""
        return str(self.image) if self.index is None else f"{self.image}[{self.index}]"

    @property
    def images(self) -> list[Path]:
        """Return the files of the image, in the order of its channels."""
        return [self.image, *self.others]

    @property
    def labels(self) -> list[Path]:
        """Return the files of the mask, in the order of its classes."""
        return [path for path in self.class_files or (self.label,) if path is not None]

    @property
    def files(self) -> list[Path]:
        """Return all files of the case."""
        labels = self.labels
        fields = [] if self.fov is None else [self.fov]
        return [self.image, *labels[:1], *fields, *self.others, *labels[1:]]


@dataclass
class Sample:
    """Holds the decoded pixels of one case."""

    image: Array
    """`(*S, C)` as stored: uint8, uint16 or float32."""
    maps: dict[str, Array] = field(default_factory=dict)
    """Maps that are cropped and turned with the image, each `(*S)`: `mask`, `valid` if some pixels do not count, and
    `outside` if some of these count as background in the loss, all uint8; maps of values, such as a depth, are
    float32. Several masks that may overlap are one map `(*S, K)`."""
    facts: dict[str, Array] = field(default_factory=dict)
    """Values of the whole image, such as the number `class`; crops and turns do not change them."""
    stored_maps: dict[str, Array] = field(default_factory=dict)
    """Maps before resizing, if they were resized; predictions are scored on them."""
    scale: tuple[Array, Array] | None = None
    """Values to subtract from and to divide by, for an image that is normalised by itself; None if not yet computed."""

    @property
    def nbytes(self) -> int:
        """Return the bytes of the image and of all maps."""
        return self.image.nbytes + sum(each.nbytes for each in (*self.maps.values(), *self.stored_maps.values()))

    def copied(self) -> "Sample":
        """Copy image and maps, so that a crop does not hold the memory of its whole image.

        The order of axes in memory stays, because sums depend on it in their last bits.
        """
        maps = {name: values.copy(order="K") for name, values in self.maps.items()}
        return replace(self, image=self.image.copy(order="K"), maps=maps)

    @property
    def size(self) -> tuple[int, ...]:
        """Return the spatial size."""
        return self.image.shape[:-1]

    @property
    def valid(self) -> Mask:
        """Return the pixels that count, `(*S)`; all pixels if there is no map `valid`."""
        mask: Mask = self.maps.get("valid", np.ones(self.size, np.uint8)) > 0
        return mask


def example_of(cases: Sequence[Case]) -> Path | None:
    """Choose what a prediction can be tried on: the folder of the images if no mask lies in it, else one image.

    One volume is enough.
    """
    if not cases:
        return None
    first = cases[0]
    folder = first.image.parent
    masks = (path.parent for case in cases for path in (*case.labels, case.fov) if path is not None)
    is_volume = first.index is not None or first.image.is_dir()
    return first.image if is_volume or folder in masks else folder


@dataclass(frozen=True)
class Geometry:
    """Records the sizes from the file to the network, to undo the changes exactly."""

    stored: tuple[int, ...]
    """Size in the file."""
    resized: tuple[int, ...]
    """Size after resizing."""
    padded: tuple[int, ...]
    """Size after padding, which the network sees."""

    def restore(self, values: A, resized: Callable[[A, tuple[int, ...]], A]) -> A:
        """Bring `(B, K, *padded)` back to `(B, K, *stored)`: cut off the padding, then resize.

        Where nothing changes, the values themselves are returned, with the probabilities that are known of them.

        Args:
            values: Outputs of the network.
            resized: Function that resizes values; `interpolated` for arrays.
        """
        if self.padded != self.resized:
            window: Any = (..., *(slice(0, size) for size in self.resized))
            values = values[window]
        return values if self.resized == self.stored else resized(values, self.stored)


def interpolated(values: Array, size: tuple[int, ...]) -> Array:
    """Resize the last axes of `(..., *S)` float32 in the same way as `F.interpolate`.

    The interpolation is linear along each axis, with `align_corners=False` and without antialiasing.
    """
    for axis, length in enumerate(size, start=values.ndim - len(size)):
        values = _along(values, axis, length)
    return values


def _along(values: Array, axis: int, size: int) -> Array:
    """Interpolate linearly along one axis, with the centres of pixels aligned."""
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
    """Convert stored pixels to float32; scale uint8 and uint16 to 0 to 1."""
    unit: Array = image.astype(np.float32)
    if image.dtype.name in TOPS:
        unit /= np.float32(TOPS[image.dtype.name])
    return unit


def resize(pixels: Array, size: tuple[int, ...], *, labels: bool = False) -> Array:
    """Resize `(H, W)` or `(H, W, C)`: nearest pixel for labels, area to shrink images, linear to enlarge them."""
    if pixels.shape[: len(size)] == size:
        return pixels
    if len(size) == 3:
        return _resize_volume(pixels, size, labels=labels)
    smaller = size[0] <= pixels.shape[0] and size[1] <= pixels.shape[1]
    # INTER_NEAREST_EXACT aligns pixel centres like INTER_AREA and INTER_LINEAR; INTER_NEAREST shifts by half a pixel.
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
    """Round sizes up to multiples of `multiple`.

    Example:
        >>> padded_size((999, 960), 32)
        (1024, 960)
    """
    smallest = size if at_least is None else tuple(max(pair) for pair in zip(size, at_least, strict=True))
    return tuple(-(-length // multiple) * multiple for length in smallest)


def pad_end(pixels: Array, size: tuple[int, ...], *, mirror: bool) -> Array:
    """Pad the end of each spatial axis up to `size` with mirrored pixels or with 0."""
    widths = [(0, length - have) for length, have in zip(size, pixels.shape, strict=False)]
    widths += [(0, 0)] * (pixels.ndim - len(size))
    if not any(after for _, after in widths):
        return pixels
    return np.pad(pixels, widths, mode="symmetric") if mirror else np.pad(pixels, widths)
