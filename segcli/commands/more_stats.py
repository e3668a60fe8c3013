"""Percentiles, spacings and sizes of objects for `segcli data stats`."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.faults.objects import objects_of
from segcli.data.samples import Case, Sample, as_unit
from segcli.datasets import Layout
from segcli.tasks import Task

__all__ = ["object_sizes", "percentiles", "spacings", "values_of_sample"]

PIXELS = 4096
"""Pixels of each image that percentiles are computed from, at equal distances."""
POINTS = (0.5, 5.0, 50.0, 95.0, 99.5)


def values_of_sample(sample: Sample) -> Array:
    """Choose pixels of an image that count, on the scale of `mean`, `(N, C)`."""
    pixels = sample.image.reshape(-1, sample.image.shape[-1])[sample.valid.ravel()]
    return as_unit(pixels[:: max(len(pixels) // PIXELS, 1)])


def percentiles(values: Sequence[Array]) -> dict[str, list[float]]:
    """Compute the percentiles of each channel by their name, such as `99.5`."""
    pixels = np.concatenate(list(values)) if values else np.zeros((0, 1), np.float32)
    if not len(pixels):
        return {}
    found = np.percentile(pixels, POINTS, axis=0)
    return {f"{point:g}": [float(f"{value:.6g}") for value in row] for point, row in zip(POINTS, found, strict=True)}


def spacings(layout: Layout, cases: Sequence[Case]) -> dict[str, int]:
    """Count the cases of each spacing in millimetres, such as `3x1x1`; cases without one are left out."""
    found: list[str] = []
    for case in cases:
        with suppress(DataError):
            spacing = layout.spacing(case)
            if spacing is not None:
                found.append("x".join(f"{value:.4g}" for value in spacing))
    return dict(Counter(found).most_common())


def object_sizes(task: Task, masks: Sequence[Array]) -> dict[str, dict[str, Any]]:
    """Describe the objects of each class: their number, and the 5th, 50th and 95th percentile of length and pixels."""
    names = task.names
    found: dict[int, list[tuple[int, int]]] = {}
    for mask in masks:
        for number, extent, pixels in objects_of(mask):
            found.setdefault(number, []).append((max(extent), pixels))
    described = {}
    for number, sizes in sorted(found.items()):
        low, middle, high = np.percentile(np.array(sizes), [5, 50, 95], axis=0).tolist()
        lengths, areas = ([round(row[column], 1) for row in (low, middle, high)] for column in (0, 1))
        name = names[number] if number < len(names) else str(number)
        described[name] = {"count": len(sizes), "length": lengths, "pixels": areas}
    return described
