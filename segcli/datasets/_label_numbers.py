"""Numbers of label maps that belong to no class, and what a data set can state about them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.classes.class_list import NUMBERS
from segcli.data.classes.counts import values_of

__all__ = ["refuse_unknown"]


def refuse_unknown(labels: Array, path: Path, numbers: Sequence[int], *, excludes: bool) -> None:
    """Refuse a label map with numbers that belong to no class.

    Args:
        labels: The label map.
        path: Its file.
        numbers: Number of each class.
        excludes: Whether classes exclude each other, so that 0 is one of them.

    Raises:
        DataError: There is such a number.
    """
    values, counts = values_of(labels)
    strange = ~np.isin(values, numbers if excludes else [0, *numbers])
    if not strange.any():
        return
    pairs = list(zip(values[strange], counts[strange], strict=True))
    shown = ", ".join(f"{value} ({count} voxels)" for value, count in pairs[:5])
    more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
    raise DataError(
        f"label map `{path}` holds numbers that belong to no class: {shown}{more}",
        hint=_way_out([int(value) for value in values], numbers, excludes=excludes),
    )


def _way_out(values: list[int], numbers: Sequence[int], *, excludes: bool) -> str:
    """Suggest what to do; never to ignore the only foreground of a label map."""
    found = [value for value in values if value or excludes]
    known = f"numbers of the classes: {', '.join(map(str, numbers[:12]))}"
    if set(found) & set(numbers) - {0}:
        return f"{known}; add the class, or set `other_labels: ignore`"
    if len(found) == len(numbers) and 0 <= min(found) <= max(found) < NUMBERS:
        return f"if {', '.join(map(str, found))} stand for the classes in their order, set `numbers: {found}`"
    return f"{known}, of which it holds none: state the number of each class with `numbers`"
