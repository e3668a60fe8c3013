"""Reads each case of a data set once for `segcli data check`, and keeps what is compared afterwards."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from segcli.commands.tiny_objects import Objects
from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.faults.kept import Images
from segcli.data.faults.objects import counted_mask, objects_of
from segcli.data.faults.orientation import turned_alone
from segcli.data.faults.seen import Seen, moments_of, seen
from segcli.data.moments import Moments
from segcli.data.samples import Case, Sample
from segcli.datasets import Layout
from segcli.engine.doubtful_data import scale_of
from segcli.engine.each_case import in_turn
from segcli.engine.events import Listener
from segcli.files._content import files_held
from segcli.tasks import Task

__all__ = ["Examined", "beyond", "examined", "with_measured_objects"]

LOOKED_AT = 40
"""Training images whose objects are measured; more of them hardly change the sizes."""


@dataclass(slots=True)
class _Case:
    """Holds what was found in a case, until it is kept with that of the others."""

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


class Examined:
    """Keeps what was found in the cases of a split, as few numbers for each.

    Args:
        classes: Numbers of pixels that are counted for each case.
    """

    def __init__(self, classes: int) -> None:
        self.findings: list[Finding] = []
        self.present: Array | None = None
        """Number of cases with a pixel of each mask, where several masks may overlap."""
        self.moments: Moments | None = None
        """Moments of the training images; None where `mean` and `std` are neither stated nor measured."""
        self.objects: Objects = []
        self.other_scale: tuple[str, str] | None = None
        """Message and hint, if `mean` and `std` are on another scale than the pixels of the first training image."""
        self.bright = array("d")
        """Value that 0.5 % of the pixels of each image exceed, where it is above 0; 8-bit images have none."""
        self._pixels, self._classes = array("q"), classes

    @property
    def pixels(self) -> Array:
        """Return the valid pixels of each class `(N, K)` of the cases whose mask could be read."""
        return np.array(self._pixels, np.int64).reshape(-1, self._classes)

    def add(self, case: _Case) -> None:
        """Keep what was found in the next case."""
        self.findings += case.findings
        self.objects += case.objects
        self.other_scale = self.other_scale or case.other_scale
        if case.pixels is not None:
            self._pixels.extend(case.pixels.tolist())
        if case.present is not None:
            self.present = case.present.astype(np.int64) + (0 if self.present is None else self.present)
        if case.moments is not None:
            self.moments = case.moments if self.moments is None else self.moments.plus(case.moments)
        bright = None if case.seen is None else case.seen.brightness.bright
        is_dark = any(finding.code == "narrow_range" for finding in case.findings)  # reported by itself
        if bright is not None and bright > 0 and np.isfinite(bright) and not is_dark:
            self.bright.append(bright)


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
    images: Images,
    listener: Listener,
    *,
    with_objects: bool = False,
) -> Examined:
    """Read all cases of a split, in several threads.

    Args:
        layout: The data set.
        task: Its task.
        split: Name of the split.
        cases: Its cases.
        images: Receives the descriptions of its images.
        listener: Receives the progress.
        with_objects: Measure the objects in training masks, which a network is compared with.
    """
    is_training = split == "train"
    of_objects = with_measured_objects(cases) if is_training and with_objects else set()
    measures = is_training and (layout.normalizes is True or layout.spec.mean is not None)
    wanted = _Wanted(measures, of_objects, cases[0] if is_training and cases else None)
    kept = Examined(len(task.no_counts))
    found = in_turn(partial(_examine, layout, task, wanted), cases, listener)
    for case, each in zip(cases, found, strict=True):
        kept.add(each)
        if each.seen is not None:
            images.add(split, case, each.seen)
    return kept


def with_measured_objects(cases: Sequence[Case]) -> set[Case]:
    """Choose the training cases whose objects are measured, at equal distances."""
    return set(cases[:: max(len(cases) // LOOKED_AT, 1)])


def beyond(first: Sequence[Finding], entries: Examined) -> list[Finding]:
    """List the findings in pixels, without errors that headers show, too.

    Args:
        first: Findings in headers.
        entries: What was kept of the cases of the split.
    """
    known = {each for finding in first if finding.severity == "error" for each in (finding.file, finding.message)}
    return [each for each in entries.findings if each.severity != "error" or not known & {each.file, each.message}]


def _examine(layout: Layout, task: Task, wanted: _Wanted, case: Case) -> _Case:
    with files_held():
        sample, found = layout.examine(case)
    result = _Case(found)
    if sample is None:
        return result
    beside = None
    if "mask" not in sample.maps:
        try:
            beside = layout.mask_beside(case)
        except DataError as error:
            hint = "training does not read it; replace it, or remove it"
            found.append(Finding("unreadable_label", "warning", case.label, error.message, hint))
    result.seen = seen(layout.unmasked(case, sample), beside)
    other = layout.turned_alike(case, sample)
    misturned = [] if other is None else list(turned_alone(case, sample, other))
    if misturned:
        found += misturned
        result.seen = replace(result.seen, fit=None, volume_fit=None)  # its mask is not shifted, too
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
