"""Conversion of stored images: channels and intensity range."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.channels import chosen_count, chosen_of, more_channels_hint
from segcli.data.checks import Finding
from segcli.data.clipping import clipped
from segcli.data.images import common_channel
from segcli.files import Header, read_header

__all__ = ["Color", "Conversion"]

Color = Literal["as_stored", "rgb", "grey", "green"]
COLOURS = {"rgb": 3, "grey": 1, "green": 1}
GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Conversion:
    """Converts images to the channels and the intensity range of the data set."""

    color: Color
    channels: int
    """Channels after the conversion, as the data-set file states."""
    intensity_range: list[float] | None = None
    """Stored values that become 0 and 1; default: the whole range of the type."""
    chosen: list[int] | None = None
    """Channels to take before the conversion; None for all."""

    def check(self, dataset: str) -> None:
        """Check that `color` and `num_channels` agree.

        Raises:
            DataError: `color` gives another number of channels.
        """
        given = COLOURS.get(self.color, self.channels)
        if given != self.channels:
            raise DataError(
                f"data set `{dataset}`: `color: {self.color}` gives {given} {'channel' if given == 1 else 'channels'}, "
                f"but `num_channels` is {self.channels}",
                hint=f"set `num_channels: {given}`",
            )

    def __call__(self, image: Array, path: Path) -> Array:
        """Convert an image `(H, W, C)` to the channels and range of the data set.

        Raises:
            DataError: The image has another number of channels, or values outside 0 to 1 without `intensity_range`.
        """
        image = chosen_of(image, self.chosen, self._named(path, image.shape[2]))
        stored = image.shape[2]
        if self.color == "green" and stored == 3:
            image = image[:, :, 1:2]
        elif self.color == "grey" and stored == 3:
            image = _grey(image)[:, :, None]
        elif self.color == "rgb" and stored == 1:
            image = np.repeat(image, 3, axis=2)
        if image.shape[2] != self.channels:
            raise DataError(_differs(path, stored, self.channels), hint=_hint(path, stored, self.channels))
        return self._to_range(np.ascontiguousarray(image), path)

    def of_input(self, image: Array, path: Path) -> Array:
        """Convert an image to predict; one in RGB becomes grey for a network of grey images.

        Raises:
            DataError: As for an image of the data set. The way out of a grey image for a network of RGB images is
                another, because keys of the data set no longer change a trained network.
        """
        stored = image.shape[2]
        if self._as_stored and (stored, self.channels) == (1, 3):
            raise DataError(
                _differs(path, stored, self.channels), hint="save it as RGB, such as with three equal channels"
            )
        return (replace(self, color="grey") if self.greys(stored) else self)(image, path)

    def greys(self, stored: int) -> bool:
        """Tell whether an image to predict with `stored` channels is RGB, and the network takes grey images."""
        return self._as_stored and (stored, self.channels) == (3, 1)

    @property
    def _as_stored(self) -> bool:
        """Tell whether the channels of a file are those of the data set."""
        return self.color == "as_stored" and self.chosen is None

    def _named(self, path: Path, stored: int) -> str:
        """Name an image, and its alpha channel if the channels of the file do not suffice."""
        return f"image `{path}`{_alpha(path)}" if self.chosen and max(self.chosen) >= stored else f"image `{path}`"

    def _to_range(self, image: Array, path: Path) -> Array:
        low, high = (float(image.min()), float(image.max())) if image.dtype.kind == "f" and image.size else (0.0, 1.0)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(f"image `{path}` holds NaN or infinite values", hint="replace these values in the file")
        if self.intensity_range is not None:
            low, high = self.intensity_range
            unit: Array = np.clip((image.astype(np.float32) - low) / (high - low), 0.0, 1.0)
            return unit
        if low < 0.0 or high > 1.0:
            raise DataError(
                f"image `{path}` holds floating-point values from {low:.4g} to {high:.4g}, outside 0 to 1",
                hint="set `intensity_range: [low, high]` in the data-set file",
            )
        return image

    def inspect(self, header: Header, path: Path) -> Iterator[Finding]:
        """Report channels that cannot be converted, from the header alone."""
        try:
            count = chosen_count(header.channels, self.chosen, self._named(path, header.channels))
        except DataError as error:
            yield Finding("wrong_channels", "error", path, error.message, error.hint or "")
            return
        converted = COLOURS.get(self.color, count)
        if converted != self.channels or count not in (1, 3, self.channels):
            message = _differs(path, count, self.channels)
            yield Finding("wrong_channels", "error", path, message, _hint(path, count, self.channels))

    def examine(self, image: Array, path: Path, converted: Array) -> Iterator[Finding]:
        """Report stored intensities that look wrong, and those of which `intensity_range` leaves little."""
        if image.min() == image.max():
            message = f"image `{path}` has the same value in every pixel"
            yield Finding("constant_image", "warning", path, message, "look at the file")
        elif image.dtype == np.uint16 and self.intensity_range is None and image.max() < 2**14:
            top = int(image.max())
            message = (
                f"image `{path}` is 16-bit but its highest value is {top}: it will look almost black to the network"
            )
            bits = 2 ** int(np.ceil(np.log2(top + 1))) - 1
            yield Finding("narrow_range", "warning", path, message, f"set `intensity_range: [0, {bits}]`")
        else:
            yield from clipped(converted, self.intensity_range, f"image `{path}`", path, image)


def _grey(image: Array) -> Array:
    """Weigh the channels of an RGB image `(H, W, 3)`; equal ones are the grey, which takes much less time to see."""
    is_whole = image.dtype.kind == "u"
    common = common_channel(image) if is_whole and common_channel(image[:1]) is not None else None
    if common is not None:
        return common
    grey = image.astype(np.float32) @ GREY
    return (np.rint(grey) if is_whole else grey).astype(image.dtype)


def _differs(path: Path, channels: int, stated: int) -> str:
    count = f"{channels} channel{'s' * (channels != 1)}"
    alpha = _alpha(path) if channels < stated else ""
    return f"image `{path}`{alpha} has {count}, but the data set states `num_channels: {stated}`"


def _alpha(path: Path) -> str:
    """Tell that an alpha channel is not counted; empty for a file that declares none."""
    try:
        there = read_header(path).has_alpha
    except DataError:  # a file of several pages
        return ""
    return " without its alpha channel" if there else ""


def _hint(path: Path, channels: int, stated: int) -> str:
    if channels == stated - 1 and _alpha(path):
        return (
            f"set `num_channels: {channels}` in the data-set file; if the last channel was measured, save it without "
            "declaring alpha, such as `extrasamples=['unspecified']` of `tifffile.imwrite`"
        )
    convert = {(3, 1): "`color: grey` (or `green`) to convert", (1, 3): "`color: rgb` to convert"}
    if (channels, stated) in convert:
        return f"set `num_channels: {channels}` in the data-set file, or {convert[channels, stated]}"
    return more_channels_hint(channels, stated)
