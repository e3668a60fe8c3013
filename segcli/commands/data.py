"""`segcli data check`, `data stats`, `data split` and `data sample`."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.shapes import shapes
from segcli.config.agreement import doubts, without_effect
from segcli.config.schema import DatasetSection, Run
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import write_text
from segcli.core.registry import SAMPLES, TASKS
from segcli.core.types import Array
from segcli.data.checks import Finding, Severity
from segcli.data.classes.weights import SCHEMES, class_weights
from segcli.data.moments import Moments
from segcli.data.samples import Case
from segcli.data.sources import chunks_left_out
from segcli.datasets import SPLITS, Layout
from segcli.engine.doubtful_data import divided_subjects, scale_mistake
from segcli.engine.each_case import each_case
from segcli.engine.events import Listener
from segcli.engine.training.session import refusals, split_findings
from segcli.report.results import Checked, SplitDrawn, SplitSummary, Stats
from segcli.samples import SampleSet
from segcli.tasks import Task

__all__ = ["check_data", "data_stats", "make_sample", "split_data"]

SPREAD = 10.0
"""Largest ratio of the brightest to the darkest case that one normalisation fits."""
RARE = 0.02
"""A foreground with a smaller share is hard to learn with a loss that averages over pixels."""


def check_data(dataset: DatasetSection, run: Run | None = None, *, listener: Listener) -> Checked:
    """Look for faults in file lists, headers and pixels that would spoil a training, and in the batches of a run."""
    layout: Layout = dataset.build()
    task = _task(dataset)
    findings: list[Finding] = []
    summaries: list[SplitSummary] = []
    contents: dict[str, list[tuple[str, Case]]] = {}
    everything: list[Case] = []
    for split in SPLITS:
        if not layout.has(split):
            findings.append(_no_split(split))
            continue
        first = list(layout.inspect(split))
        findings += first
        cases = _cases(layout, split)
        everything += cases
        findings += chunks_left_out(split, cases, layout.ndim, layout.page)
        listener.stage(f"reading {split}", len(cases))
        # a fault of the header is found again in the pixels
        seen = {each for finding in first if finding.severity == "error" for each in (finding.file, finding.message)}
        examined = each_case(partial(_examine, layout, task, seen), cases, listener)
        for case, result in zip(cases, examined, strict=True):
            findings += result.findings
            if result.digest:
                contents.setdefault(result.digest, []).append((split, case))
        summaries.append(_summary(layout, task, split, cases, examined))
        findings += _intensities(layout, split, examined)
    with suppress(DataError):  # reported with the split that cannot be read
        findings += layout.compared([entry.split for entry in summaries])
        findings += divided_subjects(layout, [entry.split for entry in summaries])
    findings += layout.foreign_links(everything)
    findings += _scale(layout)
    with suppress(DataError):  # reported with the split that cannot be read
        findings += split_findings(layout)
    findings += [] if run is None else [*_remarks(run), *refusals(run, layout)]
    findings += _same_content(contents)
    findings += _shares_differ(summaries)
    findings += _absent_classes(summaries)
    order = {"error": 0, "warning": 1, "info": 2}
    findings = list(dict.fromkeys(findings))  # a fault of all splits is found in each
    return Checked(dataset.name, summaries, sorted(findings, key=lambda finding: order[finding.severity]))


def _task(dataset: DatasetSection) -> Task:
    task: Task = TASKS.load(dataset.task_name)(dataset.spec)
    return task


def _no_split(split: str) -> Finding:
    hints = {
        "val": "no validation: no best checkpoint, no pictures, no early stopping",
        "test": "`segcli eval` scores the validation split",
    }
    return Finding("no_split", "info", None, f"there is no `{split}` split", hints.get(split, ""))


def _scale(layout: Layout) -> list[Finding]:
    """Find a `mean` on another scale than the pixels."""
    try:
        mistake = scale_mistake(layout)
    except DataError:
        return []  # reported with the case that cannot be read
    return [] if mistake is None else [Finding("other_scale", "warning", None, *mistake)]


def _remarks(run: Run) -> list[Finding]:
    """Describe keys of the run that are probably not meant, or have no effect."""
    return [
        *(Finding("other_name", "info", None, message, "") for message in run.readings),
        *(Finding("doubtful_value", "warning", None, message, "") for message in doubts(run)),
        *(Finding("no_effect", "info", None, message, "") for message in without_effect(run)),
    ]


def _cases(layout: Layout, split: str) -> list[Case]:
    try:
        return layout.all_cases(split)
    except DataError:
        return []


@dataclass
class _Examined:
    findings: list[Finding] = field(default_factory=list)
    digest: str | None = None
    pixels: Array | None = None
    """Valid pixels of each class; None where the mask could not be read."""
    present: Array | None = None
    """True for each mask that has a pixel, where several masks may overlap."""
    bright: float | None = None
    """Value that 0.5 % of the pixels exceed; None for 8-bit images."""


def _examine(layout: Layout, task: Task, seen: set[Path | str | None], case: Case) -> _Examined:
    sample, found = layout.examine(case)
    result = _Examined([each for each in found if each.severity != "error" or not seen & {each.file, each.message}])
    if sample is None:
        return result
    result.digest = hashlib.sha256(str(sample.image.shape).encode() + sample.image.tobytes()).hexdigest()
    result.pixels = task.counts(sample)
    if result.pixels is not None:
        result.present = task.present(result.pixels)
    if sample.image.dtype != np.uint8:
        result.bright = float(np.percentile(sample.image, 99.5))
    return result


def _summary(layout: Layout, task: Task, split: str, cases: list[Case], examined: list[_Examined]) -> SplitSummary:
    sizes: dict[str, int] = {}
    for case in cases:
        try:
            size = "x".join(map(str, layout.size(case)))
        except DataError:
            size = "unreadable"
        sizes[size] = sizes.get(size, 0) + 1
    readable = [entry.pixels for entry in examined if entry.pixels is not None]
    flags = [entry.present for entry in examined if entry.present is not None]
    present = np.sum(flags, axis=0).tolist() if flags else []
    groups = [case.group for case in cases if case.group is not None]
    return SplitSummary(
        split,
        len(cases),
        sizes,
        *_shares(task, sum(readable, task.no_counts)),
        present=dict(zip(task.classes, present, strict=False)),
        groups={group: groups.count(group) for group in dict.fromkeys(groups)},
    )


def _intensities(layout: Layout, split: str, examined: list[_Examined]) -> list[Finding]:
    """Find cases with so different intensities that one mean cannot normalise all of them."""
    bright = [entry.bright for entry in examined if entry.bright is not None and entry.bright > 0]
    if len(bright) < 2 or max(bright) < SPREAD * min(bright):
        return []
    message = (
        f"intensities of `{split}` differ from case to case: the brightest voxels (99.5th percentile) range from "
        f"{min(bright):.4g} to {max(bright):.4g}"
    )
    hint = "`data.preprocessing.normalize=per_image` gives each case a mean of 0 and a deviation of 1"
    if layout.spec.mean is None and layout.normalizes == "per_image":
        return [Finding("intensities_differ", "info", None, message, f"{hint}; it is the default of this format")]
    return [Finding("intensities_differ", "warning", None, message, f"take `mean` and `std` out and set {hint}")]


def _shares(task: Task, pixels: Array) -> tuple[float, dict[str, float]]:
    """Share of the foreground of a single mask, else NaN; and of several classes their shares."""
    shares = task.class_shares(pixels)
    return (next(iter(shares.values())), {}) if task.single else (float("nan"), shares)


def _same_content(contents: dict[str, list[tuple[str, Case]]]) -> list[Finding]:
    findings = []
    for places in contents.values():
        if len(places) < 2:
            continue
        (split, case), *others = places
        for other_split, other in others:
            leak = split != other_split
            findings.append(
                Finding(
                    "same_image_in_two_splits" if leak else "same_image_twice",
                    "error" if leak else "warning",
                    other.image,
                    f"`{other.place}` ({other_split}) has the pixels of `{case.place}` ({split})",
                    "remove it from one of the splits, else the scores are too good"
                    if leak
                    else "remove one of the two",
                )
            )
    return findings


def _shares_differ(summaries: list[SplitSummary]) -> list[Finding]:
    train = next((entry.foreground_share for entry in summaries if entry.split == "train"), float("nan"))
    findings = []
    for entry in summaries:
        share = entry.foreground_share
        if np.isnan(share) or np.isnan(train):
            continue
        message = f"foreground is {share:.2%} of the `{entry.split}` pixels"
        if entry.split != "train" and not (1 / 3 <= (share + 1e-9) / (train + 1e-9) <= 3):
            hint = "check that the masks of both splits have the same meaning"
            findings.append(
                Finding("class_share_differs", "warning", None, f"{message}, but {train:.2%} in training", hint)
            )
        else:
            hint = "for rare classes use a loss such as Dice, and crops around them (`data.foreground_share`)"
            findings.append(Finding("class_share", "info", None, message, hint if share < RARE else ""))
    return findings


def _absent_classes(summaries: list[SplitSummary]) -> list[Finding]:
    """Find classes without a pixel."""
    findings = []
    for entry in summaries:
        for name in (name for name, share in entry.class_shares.items() if share == 0):
            training = entry.split == "train"
            message = f"class `{name}` does not occur in the masks of `{entry.split}`"
            hint = (
                "the network cannot learn it: add images, or list it in `ignore`"
                if training
                else "it is not scored there"
            )
            severity: Severity = "warning" if training else "info"
            findings.append(Finding("absent_class", severity, None, message, hint))
    return findings


def data_stats(dataset: DatasetSection, *, listener: Listener) -> Stats:
    """Compute mean and standard deviation per channel over all training pixels, on the scale 0 to 1, and class shares.

    Pixels outside the field of view, pixels of ignored classes and padding are left out.

    Raises:
        DataError: A file of the training split is missing or unreadable.
    """
    layout: Layout = dataset.build()
    task = _task(dataset)
    cases = layout.cases("train")
    listener.stage("reading train", len(cases))
    rows = each_case(lambda case: _moments(layout, task, case), cases, listener)
    moments = Moments.of_all(row[0] for row in rows)
    labelled = np.stack([row[1] for row in rows])
    foreground, shares = _shares(task, labelled.sum(axis=0))
    weights: dict[str, dict[str, float]] = {
        scheme: dict(zip(shares, class_weights(scheme, labelled), strict=True))
        for scheme in SCHEMES
        if shares and scheme != "none" and task.target == "classes"
    }
    return Stats(
        dataset=dataset.name,
        num_images=len(cases),
        mean=moments.mean,
        std=moments.std,
        foreground_share=foreground,
        class_shares=shares,
        class_weights=weights,
        **vars(shapes(layout, task, cases)),
    )


def _moments(layout: Layout, task: Task, case: Case) -> tuple[Moments, Array]:
    """Sum the pixels of a case, and count those of each class."""
    sample = layout.counted(case)
    counts = task.counts(sample)
    return Moments.of(sample), task.no_counts if counts is None else counts


def split_data(dataset: DatasetSection) -> SplitDrawn:
    """Draw the splits and write the split file; an existing file is replaced.

    Raises:
        ConfigError: The data set draws no split.
        DataError: The draw cannot work, or the file cannot be written.
    """
    layout: Layout = dataset.build()
    drawn = layout.division(fresh=True)
    if drawn is None or not drawn.settings.draws:
        raise ConfigError(
            f"data set `{dataset.name}` draws no split: folders, names or a file written by hand define it",
            hint="set `split.val` (and `split.test`) to shares such as 0.2",
        )
    before = drawn.known() if drawn.file.exists() else None
    drawn.write()
    side_of = {name: side for side, names in drawn.sides.items() for name in names}
    moved = None if before is None else sum(side_of.get(name, side) != side for name, side in before.items())
    layout = dataset.build()  # it reads the file now
    images = {split: len(layout.all_cases(split)) if layout.has(split) else 0 for split in SPLITS}
    return SplitDrawn(dataset.name, drawn.file, drawn.settings.unit, drawn.sides, images, moved)


def make_sample(
    kind: str, folder: Path | None, *, seed: int, size: int | None, overwrite: bool, listener: Listener
) -> dict[str, Any]:
    """Generate a data set and its data-set file.

    Raises:
        ConfigError: There is no such kind, or the folder holds files already.
    """
    name = SAMPLES.canonical(kind)
    maker: SampleSet = SAMPLES.load(name)()
    pixels = size or maker.default_size
    target = folder or Path("data") / f"{name}_sample"
    if target.exists() and any(target.iterdir()) and not overwrite:
        raise ConfigError(
            f"folder `{target}` is not empty", hint="replace the sample with `--overwrite`, or give another folder"
        )
    counts = maker.default_counts
    listener.stage(f"drawing {name}", sum(counts.values()))
    for _ in maker.write(target, seed, pixels):
        listener.advance()
    written = target / "dataset.yaml"
    write_text(written, maker.dataset_yaml(target, pixels))
    return {
        "kind": name,
        "folder": str(target),
        "dataset": str(written),
        "images": counts,
        "size": pixels,
        "shape": list(maker.shape(pixels)),
        "seed": seed,
    }
