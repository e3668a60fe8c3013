"""Scores of `segcli eval` as tables for a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from segcli.report.cells import class_heading, images_behind, interval, number, numbered, plural, short, with_unit
from segcli.report.narrow import FittedTable
from segcli.report.presence import TABLE
from segcli.report.results import Evaluated

if TYPE_CHECKING:
    from segcli.metrics import Score

__all__ = ["CLASS_METRICS", "STRUCTURE_METRICS", "evaluated"]

INTERVAL = "95 % interval"
ROOM = 58
"""Columns of a terminal of 80 that the metrics of an image may take, beside its name."""
NAMES = 20
"""Columns of a name."""
METRICS_PER_IMAGE = 6
"""Columns that fit a terminal; `per_image_metrics.yaml` has all."""
CLASS_METRICS = ("iou", "dice", "f1", "precision", "recall")
"""Metrics that are columns of the table of classes."""
STRUCTURE_METRICS = {
    "dice": "dice",
    "hd95": "hd95",
    "surface_dice": "surface dice",
    "presence_accuracy": "presence",
    "presence_sensitivity": "sens.",
    "presence_specificity": "spec.",
    "presence_ece": "ECE",
    "false_positive_volume": "false vol.",
}
"""Metrics that are columns of the table of structures, with their headings."""


def evaluated(result: Evaluated) -> Iterator[Any]:
    """Show averages with intervals, classes, the worst images, and the files."""
    count = plural(result.num_images, "image" if result.whole is None else "crop")
    if result.whole is not None:
        yield from _wholes(result.whole, result.word or "image")
    threshold = "" if result.threshold is None else f", threshold {result.threshold:g}"
    title = f"{escape(result.run)}: {count} of {escape(result.scored)}{threshold}"
    headings = ["metric", "value", INTERVAL, "scope", f"all {result.unit}", "images"]
    rows = [
        [
            with_unit(entry.name, result.units),
            f"[bold]{number(entry.value)}[/]",
            interval(entry),
            entry.scope.replace("mean over images", "per image"),
            number(entry.pooled),
            images_behind(entry),
        ]
        for entry in result.scores
    ]
    yield FittedTable(title, headings, rows, left=("metric", "scope"))
    if any(entry.name == "presence_accuracy" for entry in result.scores):
        yield _structures(result)
    elif len(result.classes) > 1:
        yield _classes(result)
    if result.groups:
        yield _scenarios(result)
    yield from [_wrong(result)] if result.answers else _images(result, result.worst())
    for note in result.notes:
        yield f"[dim]{escape(note)}[/]"
    yield f"checkpoint: {escape(str(result.checkpoint))} (epoch {result.epoch})"
    for name in ("test_metrics.yaml", "per_image_metrics.yaml"):
        yield f"wrote {escape(str(result.folder / name))}"
    if result.confusion is not None:
        yield f"wrote {escape(str(result.folder / 'confusion_matrix.png'))} and .csv"
    for name in result.files:
        yield f"wrote {escape(str(result.folder / name))}"
    if result.presence:
        yield f"wrote {escape(str(result.folder / TABLE))}"
    if result.predictions is not None:
        yield f"wrote {plural(result.num_images, 'mask')} to {escape(str(result.predictions))}"
    if result.report is not None:
        yield f"wrote {escape(str(result.report))}"


def _wrong(result: Evaluated) -> str:
    """Count the wrong predictions."""
    wrong = sum(answer.truth != answer.found for answer in result.answers)
    return f"{wrong} of {plural(len(result.answers), 'prediction')} {'is' if wrong == 1 else 'are'} wrong"


def _wholes(result: Evaluated, word: str) -> Iterator[Any]:
    """Show averages over samples, where the images are crops of samples."""
    title = f"{escape(result.run)}: {plural(result.num_images, word)} of split {result.split} (mean of the crops)"
    rows = [[entry.name, f"[bold]{number(entry.value)}[/]", interval(entry)] for entry in result.scores]
    yield FittedTable(title, ["metric", "value", INTERVAL], rows)
    yield _classes(result)


def _classes(result: Evaluated) -> FittedTable:
    """Show one row for each class; a class without true pixels is marked as absent."""
    chosen = [entry for entry in result.scores if entry.name in CLASS_METRICS] or result.scores[:4]
    first, *others = [with_unit(entry.name, result.units, class_heading(entry.name)) for entry in chosen]
    rows = []
    pixels = None if result.confusion is None else result.confusion.sum(axis=1)
    for index, name in enumerate(result.classes):
        share = "-" if pixels is None or not pixels.sum() else f"{pixels[index] / pixels.sum():.2%}"
        absent = pixels is not None and not pixels[index]
        values = [entry.per_class[index] for entry in chosen]
        cells = [number(value.value) for value in values]
        cells.insert(1, interval(values[0]))
        rows.append([escape(name), "absent" if absent else share, *cells])
    return FittedTable("Classes", ["class", result.unit, first, INTERVAL, *others], rows)


def _structures(result: Evaluated) -> FittedTable:
    """Show one row for each structure; the number of cases is beside each value."""
    chosen = [entry for entry in result.scores if entry.name in STRUCTURE_METRICS]
    named = [with_unit(entry.name, result.units, STRUCTURE_METRICS[entry.name]) for entry in chosen]
    rows = []
    for index, name in enumerate(result.classes):
        values = [entry.per_class[index] for entry in chosen]
        rows.append([escape(name), *(f"{short(value.value)} [dim]({value.num_images})[/]" for value in values)])
    title = "Structures (in brackets: number of cases behind each value)"
    return FittedTable(title, ["structure", *named], rows)


def _scenarios(result: Evaluated) -> FittedTable:
    """Show one row for each scenario."""
    chosen = [entry.name for entry in result.scores if entry.name in STRUCTURE_METRICS]
    named = [with_unit(metric, result.units, STRUCTURE_METRICS[metric]) for metric in chosen]
    rows = [
        [escape(name), str(int(values["num_images"])), *(short(values[metric]) for metric in chosen)]
        for name, values in result.groups.items()
    ]
    return FittedTable("Scenarios", ["scenario", "cases", *named], rows)


def _images(result: Evaluated, positions: list[int]) -> Iterator[Any]:
    """Show the scores of some images, of as many metrics as fit beside a name; longer names stand below."""
    shown: list[Score] = []
    room = ROOM
    for entry in result.scores[:METRICS_PER_IMAGE]:
        room -= max(len(entry.name), len("0.0000")) + 2
        if room >= 0 or not shown:
            shown.append(entry)
    names, below = numbered([result.images[position] for position in positions], NAMES + max(room, 0))
    rows = [
        [escape(name), *(number(entry.per_image[position]) for entry in shown)]
        for name, position in zip(names, positions, strict=True)
    ]
    named = [with_unit(entry.name, result.units) for entry in shown]
    yield FittedTable(f"Worst {len(positions)} by {with_unit(result.ranked_by, result.units)}", ["image", *named], rows)
    yield from map(escape, below)
