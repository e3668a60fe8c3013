"""Descriptions of images, by which a check compares them: a few kilobytes each, whatever the size of the image."""

from dataclasses import dataclass

import cv2
import numpy as np

from segcli.core.checksums import crc32
from segcli.core.types import Array
from segcli.data.faults.alignment import Fit, fit_of
from segcli.data.faults.brightness import Brightness, brightness_of
from segcli.data.faults.likeness import look_of
from segcli.data.faults.reduced import MOST_CHANNELS, halved, mean_and_deviation
from segcli.data.faults.registered import scaled_grey_of
from segcli.data.faults.tiles import Edges, edges_of
from segcli.data.faults.volume_alignment import VolumeFit, volume_fit_of
from segcli.data.moments import Moments
from segcli.data.rows import rows_of
from segcli.data.samples import TOPS, Sample

__all__ = ["PICTURE", "Seen", "fit_in", "moments_of", "plane_of", "seen", "volume_of"]

EXACT = 2**33
"""Values of 8 bits below which floating-point numbers tell the sum of their squares to less than a half."""
PICTURE = 3
"""Axes of a 2D image `(H, W, C)`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Describes an image that was read."""

    digest: tuple[int, ...]
    """Size, and checksums of the pixels and of the look: equal for the same pixels, and only then but for a chance of
    less than one in a million."""
    look: Array | None
    edges: Edges | None
    brightness: Brightness
    fit: Fit | None
    """Position of the mask on the image; None for an image without outlines of a mask."""
    volume_fit: VolumeFit | None = None
    """Position of the mask in a volume."""
    grey: Array | None = None
    """A small picture of a large image, which takes long to decode once more."""


def seen(sample: Sample, beside: Array | None = None) -> Seen:
    """Describe an image.

    Args:
        sample: The image with its mask.
        beside: Mask `(*S)` of a volume whose network does not learn it.
    """
    image = sample.image
    small = halved(image) if image.ndim == PICTURE else image
    plane, look = _plane(sample, small), look_of(small)
    return Seen(
        _digest(image, look),
        look,
        edges_of(image),
        brightness_of(image),
        None if plane is None else fit_of(*plane),
        _volume_fit(sample, beside),
        scaled_grey_of(small) if small is not image else None,
    )


def _volume_fit(sample: Sample, beside: Array | None) -> VolumeFit | None:
    volume = volume_of(sample, beside)
    return None if volume is None else volume_fit_of(*volume)


def volume_of(sample: Sample, beside: Array | None = None) -> tuple[Array, Array] | None:
    """Return a volume with its mask `(D, H, W)`; None for a picture, or without a mask.

    Args:
        sample: The image with its mask.
        beside: Mask of a volume whose network does not learn it.
    """
    mask = sample.maps.get("mask", beside)
    if mask is None or sample.image.ndim == PICTURE:
        return None
    return sample.image, mask.max(axis=-1) if mask.ndim == sample.image.ndim else mask


def plane_of(sample: Sample) -> tuple[Array, Array] | None:
    """Return a picture, which may be a smaller copy, with its mask `(H, W)`; None without a mask."""
    return _plane(sample, halved(sample.image))


def fit_in(sample: Sample) -> Fit | None:
    """Compare the outlines of the mask of a sample with the edges of its image; None if there are none."""
    plane = _plane(sample, sample.image)
    return None if plane is None else fit_of(*plane)


def _digest(image: Array, look: Array | None) -> tuple[int, ...]:
    return (*image.shape, _checksum(image), 0 if look is None else _checksum(look))


def _checksum(values: Array) -> int:
    """Compute the checksum of values in the order of their axes, whatever their order in memory."""
    checksum = 0
    for part in rows_of(values):
        checksum = crc32(part.data.cast("B"), checksum)
    return checksum


def _plane(sample: Sample, image: Array) -> tuple[Array, Array] | None:
    """Choose a plane of an image `(H, W, C)` with its mask `(H, W)`; of a volume, that which shows both best.

    Args:
        sample: The sample with the mask.
        image: Its image, or a smaller copy.
    """
    mask = sample.maps.get("mask")
    if mask is None:
        return None
    if mask.ndim == image.ndim:  # a mask for each class: later ones cover earlier ones
        mask = (mask > 0).astype(np.uint8) * np.arange(1, mask.shape[-1] + 1, dtype=np.uint8)
        mask = mask.max(axis=-1)
    if mask.ndim == 2:
        return image, mask
    across = int(np.argmin(mask.shape))  # slices lie along the shortest axis, so that planes are large
    mask, image = np.moveaxis(mask, across, 0), np.moveaxis(image, across, 0)
    counts = np.count_nonzero(mask, axis=(1, 2))
    best = int((counts * (mask[0].size - counts)).argmax())  # neither all background nor all foreground
    return np.ascontiguousarray(image[best]), np.ascontiguousarray(mask[best])


def moments_of(sample: Sample) -> Moments:
    """Compute the moments of the valid pixels; those of 8 and 16 bits by OpenCV, which is as exact and much faster."""
    image, valid = sample.image, sample.maps.get("valid")
    channels = image.shape[-1]
    if image.dtype.name not in TOPS or image.ndim != PICTURE or channels > MOST_CHANNELS:
        return Moments.of(sample)
    if image.dtype == np.uint8 and image.size < EXACT:
        return _moments_of_8_bits(image, valid)
    count = image.shape[0] * image.shape[1] if valid is None else cv2.countNonZero(valid)
    mean, deviation = (each[:channels, 0] / TOPS[image.dtype.name] for each in cv2.meanStdDev(image, mask=valid))
    return Moments(count, mean, deviation**2 * count)


def _moments_of_8_bits(image: Array, valid: Array | None) -> Moments:
    """Compute the moments of each channel by itself, with 0 at the pixels that do not count.

    This is several times faster than to leave them out, and exact: both sums are whole numbers.
    """
    counts = None if valid is None else (valid != 0).view(np.uint8) * np.uint8(255)
    pixels = image.shape[0] * image.shape[1]
    number = pixels if counts is None else cv2.countNonZero(counts)
    means, squares = np.zeros((2, image.shape[2]))
    for at in range(image.shape[2] if number else 0):
        channel = cv2.extractChannel(image, at)  # one at a time: all of them take as much memory as the image
        mean, deviation = mean_and_deviation(channel if counts is None else channel & counts)
        total, of_squares = round(mean * pixels), round((deviation**2 + mean**2) * pixels)
        means[at] = total / number / TOPS["uint8"]
        squares[at] = (number * of_squares - total**2) / number / TOPS["uint8"] ** 2
    return Moments(number, means, squares)
