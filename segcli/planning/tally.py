"""Collect what the pixels of samples say."""

import math
from dataclasses import dataclass, field

import numpy as np

from segcli.core.types import Array
from segcli.data.moments import Moments
from segcli.data.samples import Case, Sample
from segcli.datasets import Layout
from segcli.planning.sense import centres_of
from segcli.tasks import Task

__all__ = ["Tally", "add_sample", "is_background", "object_masks", "object_names"]

DRAWN = 20_000
"""Pixels of a sample from which percentiles are computed."""


@dataclass
class Tally:
    """Collects what the pixels of samples say."""

    moments: list[Moments] = field(default_factory=list)
    counts: list[Array] = field(default_factory=list)
    present: list[Array] = field(default_factory=list)
    drawn: list[Array] = field(default_factory=list)
    bright: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    thirds: list[tuple[Array, Array]] = field(default_factory=list)
    """Pixels of each class in the top and in the bottom third."""
    centres: list[Array] = field(default_factory=list)
    """Centre of each class along rows and columns."""
    low: float = math.inf
    high: float = -math.inf
    has_field: bool = False
    is_float: bool = False


def add_sample(tally: Tally, task: Task, layout: Layout, case: Case, sample: Sample) -> None:
    """Add the pixels of a sample."""
    tally.moments.append(Moments.of(sample))
    counts = task.counts(sample) if task.has_pixels else layout.truth_of(case)
    if counts is not None:
        tally.counts.append(counts)
        there = task.present(counts)
        tally.present.append(counts[len(counts) - len(task.classes) :] > 0 if there is None else there)
    inside = sample.image[sample.valid]
    drawn = inside[:: max(len(inside) // DRAWN, 1)]
    if len(drawn):
        tally.drawn.append(drawn.ravel())
        tally.bright.append(float(np.percentile(drawn, 99.5)))
        tally.low, tally.high = min(tally.low, float(inside.min())), max(tally.high, float(inside.max()))
    tally.valid.append(float(sample.valid.mean()))
    tally.has_field |= case.fov is not None
    tally.is_float |= sample.image.dtype.kind == "f"
    mask = sample.maps.get("mask")
    if mask is not None and mask.ndim == 2 and task.target == "classes":
        third = max(len(mask) // 3, 1)
        length = len(task.classes)
        parts = [(mask[rows][sample.valid[rows]]).ravel() for rows in (slice(0, third), slice(-third, None))]
        top, bottom = (np.bincount(part, minlength=length)[:length] for part in parts)
        tally.thirds.append((top, bottom))
        tally.centres.append(centres_of(mask, sample.valid, length))


def object_names(task: Task) -> list[str]:
    """Name the classes that have objects: all but the background."""
    if task.target != "classes":
        return ["foreground"] if task.single else list(task.classes)
    return [name for number, name in enumerate(task.classes) if not is_background(number, name)]


def is_background(number: int, name: str) -> bool:
    """Tell whether a class of exclusive classes is the background, by its name."""
    return name.lower() in ("background", "bg") or (number == 0 and name.lower() in ("none", "other", "class_0"))


def object_masks(task: Task, sample: Sample) -> list[Array]:
    """Return the mask of each class that has objects, `(*S)` booleans, at valid pixels."""
    mask, valid = sample.maps["mask"], sample.valid
    if task.target != "classes":
        return [mask.astype(bool) & valid] if task.single else [mask[..., k] > 0 for k in range(mask.shape[-1])]
    numbers = [number for number, name in enumerate(task.classes) if not is_background(number, name)]
    return [(mask == number) & valid for number in numbers]
