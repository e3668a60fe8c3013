"""Spacing of the voxels of a TIFF stack, as ImageJ and segcli write it."""

import math
from contextlib import suppress
from typing import Any

import tifffile

__all__ = ["spacing_of"]

UNITS = {"micron": 1e-3, "um": 1e-3, "\\u00B5m": 1e-3, "µm": 1e-3, "nm": 1e-6, "mm": 1.0, "cm": 10.0, "inch": 25.4}
"""Millimetres of each unit, by its names in ImageJ."""


def spacing_of(tiff: tifffile.TiffFile) -> tuple[float, ...] | None:
    """Read the spacing in millimetres; None if the file states none, or one that is no length."""
    shaped = tiff.shaped_metadata or ({},)
    stated = tiff.imagej_metadata or shaped[0]
    scale = UNITS.get(str(stated.get("unit", "")))
    tags = tiff.pages[0].tags  # type: ignore[union-attr]  # the first page is always read whole
    if scale is None or "spacing" not in stated or "XResolution" not in tags or "YResolution" not in tags:
        return None
    across = [_length(*reversed(tags[name].value)) for name in ("YResolution", "XResolution")]
    found = tuple(value * scale for value in (_length(stated["spacing"]), *across))
    return found if all(0 < value < math.inf for value in found) else None


def _length(value: Any, divisor: Any = 1.0) -> float:
    """Return a length; NaN for what is no number."""
    with suppress(TypeError, ValueError, ZeroDivisionError):
        return float(value) / float(divisor)
    return math.nan
