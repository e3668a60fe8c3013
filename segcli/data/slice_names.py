"""Order of slices by the numbers in their names, partners in two folders, and gaps in the numbers."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from segcli.core.errors import DataError
from segcli.data.images import natural_key
from segcli.files import stem_of

__all__ = ["Key", "copied_from", "gaps", "in_order", "keys_of", "listed", "name_of", "partner_fault"]

Key = tuple[int, ...] | str
"""Numbers of a slice, or its whole name where names hold no usable numbers."""


HINT = "name a slice and its mask alike, such as `z001.tif`, or restore the missing files"


POSITIONS = (r"(\d+(?:\.\d+)?)", r"(-?\d+(?:\.\d+)?)")
"""Positions in names: with decimals, and with a sign."""
EVEN = Decimal("1.5")
"""Largest distance between neighbours, as a multiple of the smallest one, at which numbers are positions."""
COPY = re.compile(r"^Copy of | - Copy( \(\d+\))?$| copy$")
"""Words that Windows and macOS add to the name of a copy."""


def in_order(files: Sequence[Path]) -> list[Path]:
    """Sort slices by the numbers in their names; decimals and signs count where they make positions of one distance.

    Example:
        >>> [path.name for path in in_order([Path("z0.5.tif"), Path("z0.25.tif"), Path("z0.75.tif")])]
        ['z0.25.tif', 'z0.5.tif', 'z0.75.tif']
        >>> [path.name for path in in_order([Path("s1.tif"), Path("s-1.tif"), Path("s0.tif")])]
        ['s-1.tif', 's0.tif', 's1.tif']
        >>> [path.name for path in in_order([Path("s1.10.tif"), Path("s1.9.tif"), Path("s1.8.tif")])]
        ['s1.8.tif', 's1.9.tif', 's1.10.tif']
    """
    natural = sorted(sorted(files), key=natural_key)  # `z3` and `z03` in one order everywhere
    for number in POSITIONS:
        places = _positions(natural, number)
        if places is not None:
            return [path for _, path in sorted(zip(places, natural, strict=True))]
    return natural


def _positions(files: Sequence[Path], number: str) -> list[Decimal] | None:
    """Read the only number that differs between names of one pattern; None if it does not tell even positions."""
    parts = [re.split(number, name_of(file)) for file in files]
    if len(files) < 3 or len({tuple(part[::2]) for part in parts}) != 1:
        return None
    columns = [set(column) for column in zip(*(part[1::2] for part in parts), strict=True)]
    varying = [at for at, column in enumerate(columns) if len(column) > 1]
    if len(varying) != 1:
        return None
    places = [Decimal(part[1 + 2 * varying[0]]) for part in parts]
    steps = [after - before for before, after in pairwise(sorted(places))]
    return places if min(steps) > 0 and max(steps) <= EVEN * min(steps) else None


def copied_from(file: Path) -> str:
    """Return the name of a slice without what a file manager adds to the name of a copy.

    Example:
        >>> copied_from(Path("z5 - Copy (2).tif"))
        'z5'
    """
    return COPY.sub("", name_of(file)) or name_of(file)


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
