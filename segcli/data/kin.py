"""Names that differ only by a side, tile, slice or repeat, and probably show the same subject."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from segcli.core.names import composed

__all__ = ["Kin", "divided_kin"]

ENDINGS = (
    r"[_ -]?(?:left|right|Left|Right|LEFT|RIGHT|OD|OS|L|R)",
    r"[_ -]?(?:x|X|r|row)\d+[_ -]?(?:y|Y|c|col)\d+",
    r"[_ -](?:tile|Tile|patch|Patch|crop|part)[_ -]?\d+[_ -]\d+",
    r"[_ -](?:tile|Tile|patch|crop|part|slice|Slice|frame|visit|z|s|t|p)[_ -]?\d+",
    r"[_ -]visit[_ -]?\d+[_ -]?(?:left|right|OD|OS|L|R)",
    r" ?\(\d+\)",
    r" - Copy(?: \(\d+\))?",
    r"[_ -]\d{1,4}",
    r"[_ -]?[a-f]",
    r"[_ -][A-F]",
)
"""Ends of names that number the images of one subject, the clearest first."""
MOST_OF_A_KIND = 0.5
"""A group with a larger share of all names is a prefix that all images have, and no subject."""


@dataclass(frozen=True)
class Kin:
    """Names of one subject in two splits."""

    one: tuple[str, str]
    """Split and name."""
    other: tuple[str, str]
    count: int
    """Number of subjects that are in several splits."""
    pattern: str
    """Regular expression for `split.group`, which matches every name."""


def divided_kin(names: Mapping[str, Sequence[str]]) -> Kin | None:
    """Find names in different splits that differ only by their ending.

    Args:
        names: Names of each split, without groups that are kept together anyway.

    Example:
        >>> divided_kin({"train": ["01L", "02L", "02R", "03L"], "val": ["01R", "03R"]}).pattern
        '^(.+?)(?:[_ -]?(?:left|right|Left|Right|LEFT|RIGHT|OD|OS|L|R))?$'
    """
    every = [name for members in names.values() for name in members]
    for ending in ENDINGS:
        pattern = f"^(.+?)(?:{ending})?$"
        found = dict(_divided(names, re.compile(pattern)))
        if found and not _is_prefix(every, re.compile(pattern)):
            one, other = next(iter(found.values()))
            return Kin(one, other, len(found), pattern)
    return None


def _core(name: str, pattern: re.Pattern[str]) -> str:
    match = pattern.match(composed(name))
    return name if match is None else match[1]


def _divided(
    names: Mapping[str, Sequence[str]], pattern: re.Pattern[str]
) -> Iterator[tuple[str, tuple[tuple[str, str], tuple[str, str]]]]:
    """Find the subjects that are in several splits, each with two of its names."""
    first: dict[str, tuple[str, str]] = {}
    for split, members in names.items():
        for name in members:
            core = _core(name, pattern)
            before = first.setdefault(core, (split, name))
            if before[0] != split and before[1] != name:
                yield core, (before, (split, name))


def _is_prefix(names: Sequence[str], pattern: re.Pattern[str]) -> bool:
    """Tell whether the ending only numbers the images of the whole data set."""
    cores: dict[str, int] = {}
    for name in names:
        core = _core(name, pattern)
        cores[core] = cores.get(core, 0) + 1
    return max(cores.values()) > max(MOST_OF_A_KIND * len(names), 2) or (len(cores) < 3)
