"""Measure the objects in masks: their number, their diameters, and how wide the foreground is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from segcli.core.types import Array
from segcli.planning.facts import ObjectSizes

__all__ = ["ObjectTally"]

SPECK = 3
"""Smaller parts are noise of the mask's outline."""
LARGE = 4_000_000
"""Pixels of a mask above which every other pixel along each axis is left out."""


@dataclass
class ObjectTally:
    """Collects the objects of samples.

    Args:
        names: Classes that have objects, by the number of their mask.
        spacing: Millimetres along each axis; None where they are equal or unknown.
    """

    names: Sequence[str]
    spacing: tuple[float, ...] | None = None
    diameters: dict[str, list[float]] = field(default_factory=dict)
    widths: list[float] = field(default_factory=list)
    per_sample: list[int] = field(default_factory=list)

    def add(self, masks: Sequence[Array]) -> None:
        """Add the masks of one sample, one for each name, `(*S)` booleans."""
        count = 0
        for name, mask in zip(self.names, masks, strict=True):
            step = 2 if mask.size > LARGE else 1
            sizes, widths = _measured(mask[(slice(None, None, step),) * mask.ndim], self.spacing)
            count += len(sizes)
            self.diameters.setdefault(name, []).extend(step * size for size in sizes)
            if len(widths):
                self.widths.append(step * float(np.median(widths)))
        self.per_sample.append(count)

    def sizes(self) -> ObjectSizes | None:
        """Summarise what was added; None without any object."""
        every = [diameter for found in self.diameters.values() for diameter in found]
        if not every:
            return None
        return ObjectSizes(
            per_sample=float(np.median(self.per_sample)),
            median_diameter=_rounded(np.median(every)),
            small_diameter=_rounded(np.percentile(every, 5)),
            width=_rounded(np.median(self.widths)),
            by_class={name: _rounded(np.median(found)) for name, found in self.diameters.items() if found},
        )


def _rounded(value: Any) -> float:
    return round(float(value), 1)


def _measured(mask: Array, spacing: tuple[float, ...] | None) -> tuple[list[float], Array]:
    """Return the diameters of the connected parts of a mask, and the local widths along their ridges."""
    if not mask.any():
        return [], np.zeros(0)
    if mask.ndim == 2:
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        padded = np.pad(mask.astype(np.uint8), 1)
        far = cv2.distanceTransform(padded, cv2.DIST_L2, 5)
        ridge = (far >= cv2.dilate(far, np.ones((3, 3), np.uint8))) & (padded > 0)
        return [2 * math.sqrt(area / math.pi) for area in areas if area >= SPECK], 2 * far[ridge] - 1
    finest = 1.0 if spacing is None else min(spacing)
    steps = (1.0, 1.0, 1.0) if spacing is None else tuple(length / finest for length in spacing)
    labels, count = ndimage.label(mask)
    volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    far = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=steps)
    ridge = (far >= ndimage.maximum_filter(far, 3)) & (far > 0)
    unit = math.prod(steps)
    return [2 * (3 * volume * unit / (4 * math.pi)) ** (1 / 3) for volume in volumes if volume >= SPECK], 2 * far[
        ridge
    ] - 1
