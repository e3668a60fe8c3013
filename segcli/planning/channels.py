"""Decide how images are read: channels that are only copies, bit depth, values outside 0 to 1."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from segcli.core.errors import DataError
from segcli.data.images import read_image
from segcli.files import read_header
from segcli.planning.clock import Clock
from segcli.planning.facts import Recognised
from segcli.planning.surveys import spread

__all__ = ["state_channels"]

PIXELS = 60_000_000
"""Pixels of the images that are decoded to find copies and ranges."""
FEWEST = 3
HEADERS_S = 3.0
"""Processor seconds for headers."""
DEPTHS = (255, 1023, 4095, 16383)
"""Largest values of 8, 10, 12 and 14 bits, in 16-bit files."""
NEARLY_ALL = (0.1, 99.9)
"""Percentiles of the values that count."""
ROWS = 500
"""Rows of an image from which they are computed."""
FAR = 5.0
"""Values beyond so many times the range of nearly all pixels are faults of the camera."""


def state_channels(found: Recognised, images: Sequence[Path]) -> None:
    """State `color`, `num_channels` and `intensity_range` of 2D images.

    Raises:
        DataError: No image can be read, or images have different channels that cannot be made alike.
    """
    channels, with_alpha = _of_headers(images)
    copies, kinds, (low, high), usual = _of_pixels(images)
    if channels == {3} and copies:
        found.state("color", "grey", "red, green and blue are equal in every image that was read", "likely")
        found.state("num_channels", 1)
    elif channels == {1, 3}:
        found.state("color", "grey" if copies else "rgb", "some images are grey, others have three channels", "likely")
        found.state("num_channels", 1 if copies else 3)
    elif len(channels) == 1:
        (count,) = channels
        word = {1: "grey images", 3: "colour images"}.get(count, f"images of {count} channels")
        alpha = ", whose alpha channel is left out" if with_alpha else ""
        found.state("num_channels", count, f"{word}{alpha}")
    else:
        counts = " and ".join(str(count) for count in sorted(channels))
        raise DataError(
            f"images have {counts} channels", hint="choose channels that all have with `channels=[0]`, or convert them"
        )
    if kinds == {"uint16"} and high <= DEPTHS[-1]:
        depth = next(depth for depth in DEPTHS if high <= depth)
        found.state(
            "intensity_range", [0, depth], f"16-bit files with values up to {high:g}: these become 0 and 1", "likely"
        )
    elif "float32" in kinds and (low < 0 or high > 1):
        reason = "floating-point values; these become 0 and 1, values outside are cut"
        if high - low > FAR * (usual[1] - usual[0]) > 0:
            reason = f"floating-point values, of which few lie between {low:g} and {high:g}; {reason.split('; ')[1]}"
            low, high = usual
        found.state("intensity_range", [_rounded(low), _rounded(high)], reason, "likely")


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _of_headers(images: Sequence[Path]) -> tuple[set[int], bool]:
    """Read the channels of all images, of as many as a few seconds allow; tell whether one declares alpha."""
    found: Counter[int] = Counter()
    clock, alpha = Clock(HEADERS_S), False
    error: DataError | None = None
    for index in spread(len(images)):
        if clock.over:
            break
        try:
            header = read_header(images[index], 2)
        except DataError as wrong:
            error = error or wrong
            continue
        found[header.channels] += 1
        alpha |= header.has_alpha
    if not found:
        assert error is not None
        raise error
    return set(found), alpha


def _of_pixels(images: Sequence[Path]) -> tuple[bool, set[str], tuple[float, float], tuple[float, float]]:
    """Decode some images; return whether channels are equal, the types, and the ranges of all and of usual values."""
    kinds: set[str] = set()
    copies, low, high = True, float("inf"), float("-inf")
    usual = [low, high]
    seen = 0
    for number, index in enumerate(spread(len(images))):
        if seen >= PIXELS and number >= FEWEST:
            break
        with suppress(DataError):  # `data check` names it
            pixels = read_image(images[index])
            seen += pixels.size
            copies &= bool((pixels == pixels[..., :1]).all())
            kinds.add(pixels.dtype.name)
            low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
            if pixels.dtype.kind == "f":
                rare = np.percentile(pixels[:: max(len(pixels) // ROWS, 1)], NEARLY_ALL)
                usual = [min(usual[0], float(rare[0])), max(usual[1], float(rare[1]))]
    return copies, kinds, (low, high), (usual[0], usual[1])
