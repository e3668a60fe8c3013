"""Reads each case of a data set once for `segcli data check`, and keeps what is compared afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from segcli.commands.tiny_objects import Objects
from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.faults.objects import counted_mask, objects_of
from segcli.data.faults.orientation import turned_alone
from segcli.data.faults.seen import Seen, moments_of, seen
from segcli.data.moments import Moments
from segcli.data.samples import Case, Sample
from segcli.datasets import Layout
from segcli.engine.doubtful_data import scale_of
from segcli.engine.each_case import each_case
from segcli.engine.events import Listener
from segcli.tasks import Task

__all__ = ["Examined", "beyond", "brightest", "examined", "with_measured_objects"]

LOOKED_AT = 40
"""Training images whose objects are measured; more of them hardly change the sizes."""


@dataclass(slots=True)
class Examined:
    """Holds what is kept of a case."""

    findings: list[Finding] = field(default_factory=list)
    seen: Seen | None = None
    """None for an image that cannot be used."""
    pixels: Array | None = None
    """Valid pixels of each class; None where the mask could not be read."""
    present: Array | None = None
    """True for each mask that has a pixel, where several masks may overlap."""
    moments: Moments | None = None
    """Moments of a training image; None where `mean` and `std` are neither stated nor measured."""
    objects: Objects = field(default_factory=list)
    other_scale: tuple[str, str] | None = None
    """Message and hint for the first training image, if `mean` and `std` are on another scale than its pixels."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Tells what is measured beside the faults of a case."""

    moments: bool
    objects: set[Case]
    """Cases whose objects are measured."""
    scaled: Case | None
    """Case whose pixels are compared with `mean` and `std`."""


def examined(
    layout: Layout,
    task: Task,
    split: str,
    cases: Sequence[Case],
    listener: Listener,
    *,
    with_objects: bool = False,
) -> list[Examined]:
    """Read all cases of a split, in several threads.

    Args:
        layout: The data set.
        task: Its task.
        split: Name of the split.
        cases: Its cases.
        listener: Receives the progress.
        with_objects: Measure the objects in training masks, which a network is compared with.
    """
    is_training = split == "train"
    of_objects = with_measured_objects(cases) if is_training and with_objects else set()
    measures = is_training and (layout.normalizes is True or layout.spec.mean is not None)
    wanted = _Wanted(measures, of_objects, cases[0] if is_training and cases else None)
    return each_case(partial(_examine, layout, task, split, wanted), cases, listener)


def with_measured_objects(cases: Sequence[Case]) -> set[Case]:
    """Choose the training cases whose objects are measured, at equal distances."""
    return set(cases[:: max(len(cases) // LOOKED_AT, 1)])


def beyond(first: Sequence[Finding], entries: Sequence[Examined]) -> list[Finding]:
    """List the findings in pixels, without errors that headers show, too.

    Args:
        first: Findings in headers.
        entries: What was kept of the cases.
    """
    known = {each for finding in first if finding.severity == "error" for each in (finding.file, finding.message)}
    found = (finding for entry in entries for finding in entry.findings)
    return [each for each in found if each.severity != "error" or not known & {each.file, each.message}]


def _examine(layout: Layout, task: Task, split: str, wanted: _Wanted, case: Case) -> Examined:
    sample, found = layout.examine(case)
    result = Examined(found)
    if sample is None:
        return result
    result.seen = seen(split, case, sample)
    other = layout.turned_alike(case, sample)
    misturned = [] if other is None else list(turned_alone(case, sample, other))
    if misturned:
        found += misturned
        result.seen = replace(result.seen, fit=None)  # its mask is not shifted, too
    result.pixels = task.counts(sample)
    if result.pixels is not None:
        result.present = task.present(result.pixels)
    if case == wanted.scaled:
        result.other_scale = scale_of(layout, sample.image)
    if wanted.moments:
        result.moments = _moments(layout, case, sample)
    mask = counted_mask(sample.maps) if case in wanted.objects else None
    if mask is not None:
        size = mask.shape[: layout.ndim]
        result.objects = [(number, extent, count, size) for number, extent, count in objects_of(mask)]
    return result


def _moments(layout: Layout, case: Case, sample: Sample) -> Moments | None:
    """Compute the moments of the pixels that count; of a crop without its padding, which needs another look."""
    if layout.case_size is None:
        return moments_of(sample)
    try:
        return moments_of(layout.counted(case))
    except DataError:
        return None  # reported with the case


def brightest(entries: Sequence[Examined]) -> list[float]:
    """List the values that 0.5 % of the pixels of each image exceed, where they are above 0; 8-bit images have none."""
    values = [entry.seen.brightness.bright for entry in entries if entry.seen is not None]
    return [value for value in values if value is not None and value > 0 and np.isfinite(value)]
