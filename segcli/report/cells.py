"""Numbers and words in the cells of terminal tables."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segcli.metrics import ClassScore, Score

__all__ = ["interval", "number", "plural", "short"]


def number(value: float | None) -> str:
    """Write a number with four decimals; `-` where it is not defined."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def short(value: float) -> str:
    """Write a number in five characters or less, for tables with many columns; `-` where it is not defined."""
    return "-" if math.isnan(value) else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


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
