"""Scores of `segcli eval` as tables for a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from segcli.report.cells import class_heading, images_behind, interval, number, numbered, plural, short
from segcli.report.presence import TABLE
from segcli.report.results import Evaluated

__all__ = ["CLASS_METRICS", "STRUCTURE_METRICS", "evaluated"]

NARROW = 76
"""Columns of a narrow terminal without the lines of a table."""
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
    averages = Table(title=title, title_justify="left")
    averages.add_column("metric", no_wrap=True)
    averages.add_column("value", justify="right", no_wrap=True)
    averages.add_column("95 % interval", justify="right", no_wrap=True)
    averages.add_column("scope")  # broken into two lines in a narrow terminal, where numbers must stay whole
    averages.add_column(f"all {result.unit}", justify="right", max_width=max(len(result.unit), len("0.0000")))
    averages.add_column("images", justify="right", no_wrap=True)
    for entry in result.scores:
        averages.add_row(
            entry.name,
            f"[bold]{number(entry.value)}[/]",
            interval(entry),
            entry.scope,
            number(entry.pooled),
            images_behind(entry),
        )
    yield averages
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
    title = f"{escape(result.run)}: {plural(result.num_images, word)} of split {result.split}, the mean over its crops"
    averages = Table(title=title, title_justify="left")
    for heading in ("metric", "value", "95 % interval"):
        averages.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    for entry in result.scores:
        averages.add_row(entry.name, f"[bold]{number(entry.value)}[/]", interval(entry))
    yield averages
    yield _classes(result)


def _classes(result: Evaluated) -> Table:
    """Show one row for each class; a class without true pixels is marked as absent."""
    table = Table(title="Classes", title_justify="left")
    table.add_column("class", no_wrap=True)
    table.add_column(result.unit, justify="right")
    chosen = [entry for entry in result.scores if entry.name in CLASS_METRICS] or result.scores[:4]
    for position, entry in enumerate(chosen):
        table.add_column(class_heading(entry.name), justify="right")
        if not position:
            table.add_column("95 % interval", justify="right", no_wrap=True)
    pixels = None if result.confusion is None else result.confusion.sum(axis=1)
    for index, name in enumerate(result.classes):
        share = "-" if pixels is None or not pixels.sum() else f"{pixels[index] / pixels.sum():.2%}"
        absent = pixels is not None and not pixels[index]
        values = [entry.per_class[index] for entry in chosen]
        cells = [number(value.value) for value in values]
        cells.insert(1, interval(values[0]))
        table.add_row(escape(name), "absent" if absent else share, *cells)
    return table


def _structures(result: Evaluated) -> Table:
    """Show one row for each structure; the number of cases is beside each value."""
    table = Table(title="Structures (in brackets: number of cases behind each value)", title_justify="left")
    table.add_column("structure", no_wrap=True)
    chosen = [entry for entry in result.scores if entry.name in STRUCTURE_METRICS]
    for entry in chosen:
        table.add_column(STRUCTURE_METRICS[entry.name], justify="right")
    for index, name in enumerate(result.classes):
        values = [entry.per_class[index] for entry in chosen]
        table.add_row(escape(name), *(f"{short(value.value)} [dim]({value.num_images})[/]" for value in values))
    return table


def _scenarios(result: Evaluated) -> Table:
    """Show one row for each scenario."""
    table = Table(title="Scenarios", title_justify="left")
    table.add_column("scenario", no_wrap=True)
    table.add_column("cases", justify="right")
    chosen = [entry.name for entry in result.scores if entry.name in STRUCTURE_METRICS]
    for metric in chosen:
        table.add_column(STRUCTURE_METRICS[metric], justify="right")
    for name, values in result.groups.items():
        row = (short(values[metric]) for metric in chosen)
        table.add_row(escape(name), str(int(values["num_images"])), *row)
    return table


def _images(result: Evaluated, positions: list[int]) -> Iterator[Any]:
    table = Table(title=f"Worst {len(positions)} by {result.ranked_by}", title_justify="left")
    shown = result.scores[:METRICS_PER_IMAGE]
    room = NARROW - sum(max(len(entry.name), len("0.0000")) + 3 for entry in shown)
    names, below = numbered([result.images[position] for position in positions], room)
    table.add_column("image", overflow="fold")
    for entry in shown:
        table.add_column(entry.name, justify="right", no_wrap=True)
    for name, position in zip(names, positions, strict=True):
        table.add_row(escape(name), *(number(entry.per_image[position]) for entry in shown))
    yield table
    yield from map(escape, below)
