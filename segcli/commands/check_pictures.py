"""Pictures of the images that a finding of `segcli data check` names, with the outlines of their masks."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segcli.config.schema import DatasetSection
from segcli.core.errors import DataError
from segcli.core.files import file_above, write_text
from segcli.core.registry import TASKS
from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.classes.painting import overlay
from segcli.data.images import as_rgb
from segcli.data.samples import Case, Sample, resize
from segcli.datasets import SPLITS, Layout
from segcli.report.check_page import check_page
from segcli.report.results import Checked
from segcli.tasks import Task

__all__ = ["refuse_page", "write_check_page"]

SIDE = 220
"""Longer side of a picture."""
NAMED = re.compile(r"`([^`]+)`")
MOST = 4
"""Images of a finding that are shown."""


def refuse_page(path: Path) -> None:
    """Refuse a place where no page can be written, before the data are read.

    Raises:
        DataError: The page is a folder, or lies below a file.
    """
    if path.is_dir():
        raise DataError(f"`{path}` is a folder", hint="give a file, such as `check.html`")
    above = file_above(path)
    if above is not None:
        raise DataError(f"cannot write `{path}`: `{above}` is a file", hint="give a file in a folder")


def write_check_page(path: Path, checked: Checked, dataset: DatasetSection) -> None:
    """Write the page of a check.

    Raises:
        DataError: The file is a folder, or cannot be written.
    """
    refuse_page(path)
    layout: Layout = dataset.build()
    task: Task = TASKS.load(dataset.task_name)(dataset.spec)
    try:
        write_text(path, check_page(checked, _pictures(layout, task)))
    except OSError as error:
        raise DataError(f"cannot write `{path}` ({error.strerror or error})", hint="give another file") from None


def _pictures(layout: Layout, task: Task) -> Callable[[Finding], Sequence[tuple[str, Array]]]:
    """Find the images that a finding names by its file and by the paths in its message."""
    cases: dict[str, Case] = {}
    for split in SPLITS:
        try:
            members = layout.all_cases(split) if layout.has(split) else []
        except DataError:
            continue
        for case in members:
            for place in (case.place, *case.files):
                cases.setdefault(str(place), case)

    def of(finding: Finding) -> list[tuple[str, Array]]:
        names = [*NAMED.findall(finding.message), *map(str, (finding.file, *finding.others))]
        named = dict.fromkeys(cases[name] for name in names if name in cases)
        shown = []
        for case in list(named)[:MOST]:
            sample, _ = layout.examine(case)
            if sample is not None:
                shown.append((layout.shown(case), _picture(sample, task)))
        return shown

    return of


def _picture(sample: Sample, task: Task) -> Array:
    """Draw an image with its mask, made small; of a volume, the plane with most of the foreground."""
    image, mask = sample.image, sample.maps.get("mask")
    flat = None if mask is None else (mask.max(axis=-1) if mask.ndim == image.ndim else mask)
    if image.ndim == 4:
        planes = np.zeros(len(image)) if flat is None else (flat > 0).reshape(len(flat), -1).sum(axis=1)
        best = int(planes.argmax()) if planes.any() else len(image) // 2
        image, mask = image[best], None if mask is None else mask[best]
    factor = min(SIDE / max(image.shape[:2]), 1.0)
    size = tuple(max(round(length * factor), 1) for length in image.shape[:2])
    image = resize(as_rgb(image), size)
    if mask is None:
        return image
    small = resize(np.ascontiguousarray(mask), size, labels=True)
    painted, shown = task.tinted(small)
    return overlay(image, painted, shown, 0.25)
