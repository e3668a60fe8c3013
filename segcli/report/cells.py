"""Numbers and words in the cells of terminal tables."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segcli.metrics import ClassScore, Score

__all__ = [
    "class_heading",
    "images_behind",
    "interval",
    "number",
    "numbered",
    "percentage",
    "plural",
    "short",
    "with_unit",
]


def class_heading(metric: str) -> str:
    """Name a metric in a table of classes: the accuracy of one class is another number than that of all classes.

    Example:
        >>> class_heading("accuracy"), class_heading("iou")
        ('accuracy against the rest', 'iou')
    """
    return "accuracy against the rest" if metric == "accuracy" else metric


def images_behind(score: "Score") -> str:
    """Write the number of images behind a score; `-` for a value over all images that no single image has."""
    return str(score.num_images) if score.num_images or math.isnan(score.value) else "-"


def number(value: float | None) -> str:
    """Write a number with four decimals, a large one with one; `-` where it is not defined."""
    return "-" if value is None or math.isnan(value) else f"{value:.{1 if abs(value) >= 1000 else 4}f}"


def short(value: float) -> str:
    """Write a number in five characters or less, for tables with many columns; `-` where it is not defined."""
    return "-" if math.isnan(value) else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def with_unit(name: str, units: Mapping[str, str], shown: str | None = None) -> str:
    """Write the name of a metric with its unit.

    Args:
        name: Name of the metric.
        units: Unit of each metric that has one.
        shown: Other words for the metric, for a table with many columns.

    Example:
        >>> with_unit("hd95", {"hd95": "mm"}), with_unit("dice", {"hd95": "mm"})
        ('hd95 (mm)', 'dice')
    """
    return f"{shown or name} ({units[name]})" if name in units else shown or name


def percentage(value: float) -> str:
    """Write a share as a percentage; `-` where it is not defined."""
    return "-" if math.isnan(value) else f"{value:.2%}"


def plural(count: int, word: str) -> str:
    """Write a count with its word.

    Example:
        >>> plural(1, "image"), plural(2, "image")
        ('1 image', '2 images')
    """
    return f"{count} {word}{'s' * (count != 1)}"


def interval(entry: "Score | ClassScore") -> str:
    """Write the confidence interval of a score; `-` where there is none."""
    return "-" if entry.interval is None else f"{number(entry.interval[0])} to {number(entry.interval[1])}"


def numbered(names: Sequence[str], room: int = 24) -> tuple[list[str], list[str]]:
    """Give the cells of a column of names, and lines below the table with the names that are too long for it.

    Example:
        >>> numbered(["01.png", "02.png"])
        (['01.png', '02.png'], [])
        >>> numbered(["a.png", "long.png"], room=6)
        (['1)', '2)'], ['1) a.png', '2) long.png'])
    """
    if all(len(name) <= room for name in names):
        return list(names), []
    cells = [f"{number})" for number in range(1, len(names) + 1)]
    return cells, [f"{cell} {name}" for cell, name in zip(cells, names, strict=True)]
