"""`segcli data check`, `data stats`, `data split` and `data sample`."""

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segcli.commands.examined import Examined, beyond, examined, with_measured_objects
from segcli.commands.more_stats import object_sizes, percentiles, spacings, values_of_sample
from segcli.commands.shapes import shapes
from segcli.commands.shares import share_findings, shares_of, summary
from segcli.commands.whole_set import intensities, measured_numbers, misfit_of_numbers, of_whole_set, with_network
from segcli.config.agreement import doubts, without_effect
from segcli.config.document import Problem
from segcli.config.schema import DatasetSection, Run
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import refuse_occupied, write_text
from segcli.core.registry import SAMPLES, TASKS
from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.classes.weights import SCHEMES, class_weights
from segcli.data.faults.follow_ups import without_follow_ups
from segcli.data.faults.kept import Images
from segcli.data.faults.objects import counted_mask
from segcli.data.moments import Moments
from segcli.data.samples import Case
from segcli.data.sources import chunks_left_out
from segcli.datasets import SPLITS, Layout
from segcli.engine.doubtful_data import divided_subjects, split_findings
from segcli.engine.each_case import each_case
from segcli.engine.events import Listener
from segcli.report.results import Checked, SplitDrawn, SplitSummary, Stats
from segcli.samples import SampleSet
from segcli.tasks import Task

__all__ = ["check_data", "data_stats", "make_sample", "split_data"]


def check_data(
    dataset: DatasetSection, run: Run | None = None, *, misfits: Sequence[Problem] = (), listener: Listener
) -> Checked:
    """Look for faults in file lists, headers and pixels that would spoil a training, and in the batches of a run.

    Args:
        dataset: The data set.
        run: A run on it; None to check the data set alone.
        misfits: Problems of its `mean` and `std`, which were left out.
        listener: Receives the progress.
    """
    with closing(Images()) as images:
        checked = _checked(dataset, run, images, listener)
    misfitting = [misfit_of_numbers(problem, checked.measured) for problem in misfits]
    return replace(checked, findings=[*misfitting, *checked.findings])


def _checked(dataset: DatasetSection, run: Run | None, images: Images, listener: Listener) -> Checked:
    layout: Layout = dataset.build()
    task = _task(dataset)
    findings: list[Finding] = []
    summaries: list[SplitSummary] = []
    cases: dict[str, list[Case]] = {}
    read: dict[str, Examined] = {}
    for split in SPLITS:
        if not layout.has(split):
            findings.append(_no_split(split))
            continue
        cases[split] = _cases(layout, split)
        listener.stage(f"reading {split}", len(cases[split]))
        read[split] = examined(layout, task, split, cases[split], images, listener, with_objects=run is not None)
        first = list(layout.inspect(split))  # headers are known from reading the pixels
        findings += first
        findings += chunks_left_out(split, cases[split], layout.ndim, layout.page)
        findings += beyond(first, read[split])
        if not any(finding.code == "unmatched_group" for finding in first):  # nobody knows the images of the split
            summaries.append(summary(layout, task, split, cases[split], read[split]))
        findings += intensities(layout, split, read[split].bright)
    with suppress(DataError):  # reported with the split that cannot be read
        findings += layout.compared(list(cases))
        findings += divided_subjects(layout, list(cases))
    findings += layout.foreign_links(case for members in cases.values() for case in members)
    train = read.get("train", Examined(0))
    findings += _scale(layout, train.other_scale)
    with suppress(DataError):  # reported with the split that cannot be read
        findings += split_findings(layout)
    findings += [] if run is None else _of_run(run, layout)
    numbers = measured_numbers(layout, train.moments)
    findings += list(of_whole_set(layout, cases, images, findings))
    off_scale = any(finding.code == "other_scale" for finding in findings)
    known = None if off_scale else numbers
    findings += with_network(run, layout, task, cases.get("train", []), train.objects, known)
    findings += share_findings(task, summaries, read)
    order = {"error": 0, "warning": 1, "info": 2}
    findings = without_follow_ups(list(dict.fromkeys(findings)))  # a fault of all splits is found in each
    findings.sort(key=lambda finding: order[finding.severity])
    counted = "valid pixels" if task.has_pixels else "images"
    return Checked(dataset.name, summaries, findings, numbers, states_numbers=dataset.mean is not None, counted=counted)


def _task(dataset: DatasetSection) -> Task:
    task: Task = TASKS.load(dataset.task_name)(dataset.spec)
    return task


def _no_split(split: str) -> Finding:
    hints = {
        "val": "no validation: no best checkpoint, no pictures, no early stopping",
        "test": "`segcli eval` scores the validation split",
    }
    return Finding("no_split", "info", None, f"there is no `{split}` split", hints.get(split, ""))


def _scale(layout: Layout, mistake: tuple[str, str] | None) -> list[Finding]:
    """Report a `mean` on another scale than the pixels."""
    if mistake is None:
        return []
    try:
        layout.cases("train")
    except DataError:
        return []  # there are faults that come first
    return [Finding("other_scale", "warning", None, *mistake)]


def _of_run(run: Run, layout: Layout) -> list[Finding]:
    from segcli.engine.training.session import refusals  # noqa: PLC0415 - a data set alone is checked without PyTorch

    return [*_remarks(run), *refusals(run, layout)]


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
    of_objects = with_measured_objects(cases)
    rows = each_case(lambda case: _described(layout, task, case, case in of_objects), cases, listener)
    moments = Moments.of_all(row[0] for row in rows)
    labelled = np.stack([row[1] for row in rows])
    foreground, shares = shares_of(task, labelled.sum(axis=0))
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
        percentiles=percentiles([row[2] for row in rows]),
        spacing=spacings(layout, cases),
        objects=object_sizes(task, [row[3] for row in rows if row[3] is not None]),
    )


def _described(
    layout: Layout,
    task: Task,
    case: Case,
    keeps_mask: bool,
) -> tuple[Moments, Array, Array, Array | None]:
    """Sum the pixels of a case, count those of each class, choose some of them, and keep the mask."""
    sample = layout.counted(case)
    counts = task.counts(sample)
    mask = counted_mask(sample.maps) if keeps_mask else None
    return Moments.of(sample), task.no_counts if counts is None else counts, values_of_sample(sample), mask


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
    refuse_occupied(target, "replace the sample with `--overwrite`, or give another folder", overwrite=overwrite)
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
