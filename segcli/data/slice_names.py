"""Partners of slices in two folders, by the numbers in their names; gaps in the numbers."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from segcli.core.errors import DataError
from segcli.files import stem_of

__all__ = ["Key", "gaps", "keys_of", "listed", "name_of", "partner_fault"]

Key = tuple[int, ...] | str
"""Numbers of a slice, or its whole name where names hold no usable numbers."""


HINT = "name a slice and its mask alike, such as `z001.tif`, or restore the missing files"


@dataclass(frozen=True)
class _Unpaired:
    """Lists the slices of one folder without a partner in the other folder."""

    first: tuple[Key, ...]
    second: tuple[Key, ...]


def keys_of(files: Sequence[Path]) -> list[Key] | None:
    """Find the number of each slice in its name: the numbers that differ between names of one pattern.

    Returns:
        The numbers in the order of the files; None if the names differ in more than numbers, or hold none.

    Example:
        >>> keys_of([Path("cell2_z009.tif"), Path("cell2_z010.tif")])
        [(9,), (10,)]
    """
    parts = [re.split(r"(\d+)", name_of(file)) for file in files]
    if len({tuple(part[::2]) for part in parts}) != 1 or len(parts[0]) < 3:
        return None
    numbers = [[int(text) for text in part[1::2]] for part in parts]
    varying = [at for at, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1]
    keys = [tuple(row[at] for at in varying or [len(row) - 1]) for row in numbers]
    return list(keys) if len(set(keys)) == len(keys) else None


def name_of(file: Path) -> str:
    """Return the stem of a file in the normal form of Unicode."""
    return unicodedata.normalize("NFC", stem_of(file))


def partner_fault(images: Sequence[Path], masks: Sequence[Path]) -> DataError | None:
    """Make the error for slices in the folder of the images or in that of the masks without a partner.

    Args:
        images: Slices of the image, at least one.
        masks: Slices of the mask, at least one.
    """
    raw, mask, found = images[0].parent, masks[0].parent, _unpaired(images, masks)
    if found is None:
        message = f"slices of `{raw}` and `{mask}` cannot be paired: they have neither equal names nor one number each"
        return DataError(message, hint=HINT)
    every: list[Key] = sorted([*found.first, *found.second], key=lambda key: (isinstance(key, str), key))
    if not every:
        return None
    lacks = [f"`{place}` lacks {listed(keys)}" for place, keys in ((mask, found.first), (raw, found.second)) if keys]
    subject = f"slices {listed(every)} have" if len(every) > 1 else f"slice {listed(every)} has"
    return DataError(f"{subject} no partner: {' and '.join(lacks)}", hint=HINT)


def _unpaired(first: Sequence[Path], second: Sequence[Path]) -> _Unpaired | None:
    """Find the slices of two folders without a partner: by equal names, or else by the numbers in their names.

    Returns:
        The slices without a partner, none if all have one; None if neither names nor numbers of the folders fit.
    """
    names = [name_of(file) for file in first], [name_of(file) for file in second]
    if set(names[0]) == set(names[1]) or len(first) == len(second) == 1:
        return _Unpaired((), ())
    numbers = keys_of(first), keys_of(second)
    if numbers[0] is not None and numbers[1] is not None and len(numbers[0][0]) == len(numbers[1][0]):
        return _compared(numbers[0], numbers[1])
    if set(names[0]) & set(names[1]):
        return _compared(names[0], names[1])
    return None


def _compared(first: Sequence[Key], second: Sequence[Key]) -> _Unpaired:
    there = set(first), set(second)
    return _Unpaired(
        tuple(key for key in first if key not in there[1]), tuple(key for key in second if key not in there[0])
    )


def gaps(keys: Sequence[Key]) -> list[int]:
    """Find the numbers that are missing between the first and the last slice, where the others have one distance.

    Example:
        >>> gaps([(0,), (2,), (6,), (8,)])
        [4]
    """
    numbers = sorted(key[0] for key in keys if isinstance(key, tuple) and len(key) == 1)
    steps = [after - before for before, after in pairwise(numbers)]
    if len(numbers) < len(keys) or len(steps) < 2:
        return []
    step = min(steps)
    if any(each % step for each in steps):
        return []
    there = set(numbers)
    return [number for number in range(numbers[0], numbers[-1], step) if number not in there][:MOST]


MOST = 10_000
"""Largest number of missing slices to list."""


def listed(keys: Sequence[Key], most: int = 5) -> str:
    """Name slices in a message.

    Example:
        >>> listed([(3,), (6,), (9,)])
        '3, 6 and 9'
    """
    shown = ["-".join(map(str, key)) if isinstance(key, tuple) else f"`{key}`" for key in keys]
    if len(shown) > most:
        return f"{', '.join(shown[:most])} and {len(shown) - most} more"
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)
