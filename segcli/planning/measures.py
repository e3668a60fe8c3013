"""Measure a recognised data set through its own layout: headers of all samples, and the pixels of many."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np

from segcli.config.load import dataset_from_values
from segcli.config.schema import DatasetSection
from segcli.core.errors import DataError
from segcli.core.registry import TASKS
from segcli.core.types import Array
from segcli.data.moments import Moments, rounded
from segcli.data.samples import Case
from segcli.datasets import SPLITS, Layout
from segcli.files import read_header
from segcli.planning.clock import Clock
from segcli.planning.elsewhere import FOLLOW
from segcli.planning.facts import Measures, Recognised, Spread
from segcli.planning.objects import ObjectTally
from segcli.planning.sense import is_ordered
from segcli.planning.surveys import spread
from segcli.planning.tally import Tally, add_sample, is_background, object_masks, object_names
from segcli.tasks import Task

__all__ = ["measured", "state_moments"]

HEADERS_S = 2.0
PIXELS_S = 7.0
"""Processor seconds for headers and for pixels."""
BUDGET_S = 16.0
"""Processor seconds after which no more pixels are read; the rest is for the plan."""
OBJECTS = 12
"""Samples whose objects are measured."""
OBJECTS_S = 3.0
DIFFER = 3.0
"""Largest ratio of the brightest to the darkest sample that one mean and deviation fit."""
SCENE = (3, 0.35)
"""Of a scene: fewest classes, and smallest share of the pixels whose class differs between top and bottom third."""
FILLS = 0.5
"""Classes that exclude each other without one that covers so much fill the image."""


def measured(found: Recognised, clock: Clock) -> Measures:
    """Measure the training samples, in an order that is spread over them, until the time is over.

    Args:
        found: What was recognised.
        clock: Has run since recognition began.

    Raises:
        ConfigError: The keys do not fit together.
        DataError: No training sample can be read, or links lead out of the folder and nobody allowed it.
    """
    dataset = dataset_from_values({"name": found.name, **found.keys}, source=str(found.root))
    layout: Layout = dataset.build()
    task: Task = TASKS.load(dataset.task_name)(dataset.spec)
    cases = {split: _cases(layout, split) for split in SPLITS if layout.has(split)}
    train = cases["train"]
    for outside in layout.foreign_links(case for members in cases.values() for case in members):
        raise DataError(outside.message, hint=FOLLOW)
    if not train:
        raise DataError(f"no training samples in `{found.root}`", hint="look at `split` in the data-set file")
    spacings = _spacings(layout, train)
    objects = ObjectTally(object_names(task), None if spacings is None else spacings.median)
    tally, error = Tally(), None
    limit, for_objects, total = Clock(min(PIXELS_S, BUDGET_S - clock.spent)), 0.0, 0
    for index in spread(len(train)):
        if limit.over and total >= 3:
            break
        try:
            sample = layout.counted(train[index])
        except DataError as wrong:
            error = error or wrong
            continue
        add_sample(tally, task, layout, train[index], sample)
        if "mask" in sample.maps and total < OBJECTS and for_objects < OBJECTS_S:
            timed = Clock(OBJECTS_S)
            objects.add(object_masks(task, sample))
            for_objects += timed.spent
        total += 1
    if not total:
        assert error is not None
        raise error
    return _summary(found, dataset, layout, task, cases, tally, objects, spacings, clock)


def _cases(layout: Layout, split: str) -> list[Case]:
    with suppress(DataError):
        return layout.all_cases(split)
    return [] if split != "train" else layout.all_cases(split)


def _spacings(layout: Layout, cases: Sequence[Case]) -> Spread | None:
    found = [spacing for case in cases[:100] if (spacing := layout.spacing(case)) is not None]
    return _spread(found) if found else None


def _spread(values: Sequence[Sequence[float]]) -> Spread:
    table = np.array(values, float)
    low, middle, high = (tuple(map(float, row)) for row in (table.min(0), np.median(table, axis=0), table.max(0)))
    return Spread(low, middle, high)


# ---- the summary


def _summary(
    found: Recognised,
    dataset: DatasetSection,
    layout: Layout,
    task: Task,
    cases: dict[str, list[Case]],
    tally: Tally,
    objects: ObjectTally,
    spacings: Spread | None,
    clock: Clock,
) -> Measures:
    counts = np.sum(tally.counts, axis=0) if tally.counts else task.no_counts
    shares = _shares(task, counts)
    background = next((n for i, n in enumerate(task.classes) if task.target == "classes" and is_background(i, n)), None)
    scene = _is_scene(tally, task, background, shares)
    moments = Moments.of_all(tally.moments)
    mean, std = rounded(moments.mean, moments.std)
    normalize, reason, ratio = _normalize(layout, tally)
    values = np.concatenate(tally.drawn)
    flips, turns = _orientation(layout, task, tally, scene=scene)
    middle = None if spacings is None else spacings.median
    return Measures(
        counts={split: len(members) for split, members in cases.items()},
        ndim=layout.ndim,
        sizes=_spread(_sizes(layout, cases["train"])),
        channels=dataset.spec.num_channels,
        bits=_bits(cases["train"][0], layout),
        is_float=tally.is_float and "intensity_range" not in found.keys,
        values=(tally.low, tally.high),
        percentiles=(float(np.percentile(values, 0.5)), float(np.percentile(values, 99.5))),
        mean=tuple(mean),
        std=tuple(std),
        normalize=normalize,
        normalize_reason=reason,
        brightness_ratio=round(ratio, 2),
        class_shares=shares,
        presence=_presence(task, tally),
        foreground=_foreground(task, shares, background),
        background=background,
        objects=None if scene else objects.sizes(),
        is_scene=scene,
        flips=flips,
        turns=turns,
        spacing=middle,
        spacing_spread=spacings,
        anisotropy=1.0 if middle is None else round(max(middle) / min(middle), 2),
        has_field=tally.has_field,
        valid=float(np.mean(tally.valid)),
        groups=_groups(found, layout, cases),
        seen=len(tally.moments),
        elapsed_s=round(clock.spent, 2),
    )


def _sizes(layout: Layout, cases: Sequence[Case]) -> list[tuple[int, ...]]:
    clock = Clock(HEADERS_S)
    sizes: list[tuple[int, ...]] = []
    for index in spread(len(cases)):
        if clock.over and sizes:
            break
        with suppress(DataError):
            sizes.append(layout.size(cases[index]))
    return sizes


def _bits(case: Case, layout: Layout) -> int:
    if case.image.is_dir() or case.index is not None:
        image = layout.read_unlabelled(case).image
        return 8 * image.dtype.itemsize
    header = read_header(case.image, layout.ndim)
    return 1 if header.bilevel else 8 * header.itemsize


def _shares(task: Task, counts: Array) -> dict[str, float]:
    if not task.has_pixels:
        return dict(zip(task.classes, (counts / max(counts.sum(), 1)).tolist(), strict=True))
    shares = task.class_shares(counts)
    return {"foreground": next(iter(shares.values()))} if task.single else shares


def _presence(task: Task, tally: Tally) -> dict[str, float]:
    names = ["foreground"] if task.single else list(task.classes)
    rows = np.mean(tally.present, axis=0) if tally.present else np.zeros(len(names))
    return dict(zip(names, rows[-len(names) :].tolist(), strict=True))


def _foreground(task: Task, shares: dict[str, float], background: str | None) -> float:
    if not task.has_pixels:
        return float("nan")
    return float(min(sum(share for name, share in shares.items() if name != background), 1.0))


def _is_scene(tally: Tally, task: Task, background: str | None, shares: dict[str, float]) -> bool:
    """Tell whether classes fill the images and lie at a fixed height: sky above, road below."""
    if not tally.thirds or len(task.classes) < SCENE[0] or shares.get(background or "", 0.0) > FILLS:
        return False
    top, bottom = (np.mean([part[k] / max(part[k].sum(), 1) for part in tally.thirds], axis=0) for k in (0, 1))
    return float(np.abs(top - bottom).sum() / 2) >= SCENE[1]


def _orientation(layout: Layout, task: Task, tally: Tally, *, scene: bool) -> tuple[tuple[int, ...], bool]:
    """Return the axes that may be flipped, and whether quarter turns may be used."""
    if layout.ndim == 3:
        return ((0, 1, 2), True) if not task.has_pixels else ((), False)
    kinds = [number for number, name in enumerate(task.classes) if not is_background(number, name)]
    has_top, has_left = (is_ordered(tally.centres, axis, kinds) for axis in (0, 1))
    if not (scene or has_top or has_left):
        return (0, 1), True
    return (() if has_left else (1,)), False


def _normalize(layout: Layout, tally: Tally) -> tuple[Literal[True, "per_image", "min_max"], str, float]:
    """Choose the normalisation: one mean and deviation for all, or those of each sample."""
    bright = [value for value in tally.bright if value > 0] or [1.0]
    ratio = max(bright) / min(bright)
    if layout.normalizes == "min_max":
        return "min_max", "each sample from its minimum to its maximum, as is usual for single objects", ratio
    if layout.normalizes == "per_image" and getattr(layout.config, "intensity_range", None) is None:
        return "per_image", "numbers of MR and the like mean something only within one volume", ratio
    if ratio > DIFFER:
        return "per_image", f"the brightest sample is {ratio:.1f} times as bright as the darkest", ratio
    return True, f"samples are alike: the brightest is {ratio:.1f} times as bright as the darkest", ratio


def _groups(found: Recognised, layout: Layout, cases: dict[str, list[Case]]) -> int | None:
    split: Any = found.keys.get("split", {})
    if "group" not in split:
        return None
    return len({layout.together(case) for members in cases.values() for case in members})


def state_moments(found: Recognised, facts: Measures) -> None:
    """State `mean` and `std` where one mean fits all, and every training sample was read."""
    if facts.normalize is not True or "mean" in found.keys or facts.seen < facts.counts["train"]:
        return
    split = found.keys.pop("split", None)
    found.state(
        "mean",
        list(facts.mean),
        f"of the {facts.seen} training samples, on the scale 0 to 1; `data stats` measures them",
    )
    found.state("std", list(facts.std))
    if split is not None:
        found.keys["split"] = split
