"""Names that differ only by a side, tile, slice or repeat, and probably show the same subject."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from segcli.core.names import composed

__all__ = ["Kin", "divided_kin"]

GRID = r"[_ -]\d+[_ -]\d+"
ENDINGS = (
    r"[_ -]?(?:left|right|Left|Right|LEFT|RIGHT|OD|OS|L|R)",
    r" ?\[(?:d=[\d.]+,)?x=\d+,y=\d+,w=\d+,h=\d+(?:,[zt]=\d+)*\]",
    r"[_ -]?(?:x|X|r|row)\d+[_ -]?(?:y|Y|c|col)\d+",
    r"[_ -](?:tile|Tile|patch|Patch|crop|part)[_ -]?\d+[_ -]\d+",
    r"[_ -](?:tile|Tile|patch|crop|part|slice|Slice|frame|visit|view|ses|session|run|scan|z|s|t|p|v)[_ -]?\d+",
    GRID,
    r" ?\(\d+\)",
    r" - Copy(?: \(\d+\))?",
    r"[_ -]f?\d{1,6}",
    r"[_ -]?[a-f]",
    r"[_ -][A-F]",
)
"""Ends of names that number the images of one subject, the clearest first."""
PATTERNS = (
    *(f"^(.+?)(?:{ending})?$" for ending in ENDINGS),
    r"^(?:(?:left|right|Left|Right|LEFT|RIGHT|OD|OS|L|R)[_ /-])?(.+)$",
)
BEFORE = r"[_ -](?:visit|view|ses|session|run|scan|slice|Slice|frame|v|z|t)[_ -]?\d+"
"""End that may stand before one of `ENDINGS`, such as the visit before the eye."""
STEP = 8
"""Offsets of tiles are multiples of a step that is at least so long."""
COMMON_END = re.compile(r"(?:[_ -][A-Za-z0-9]+)+")
YEAR = re.compile(r"(?:19|20)\d\d")
FEW_KINDS = 6
"""Fewer beginnings without any digit are kinds, such as `benign_001` and `malignant_001`, and no subjects."""
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
    found = _by_ending(names)
    if found is not None or not (end := _common_end([name for members in names.values() for name in members])):
        return found
    found = _by_ending({split: [name.removesuffix(end) for name in members] for split, members in names.items()})
    if found is None:
        return None
    one, other = ((split, name + end) for split, name in (found.one, found.other))
    return Kin(one, other, found.count, f"{found.pattern.removesuffix('$')}{end}$")


def _common_end(names: Sequence[str]) -> str:
    """Return what all names end with after a separator, such as `_ch00`; empty if names share no such end."""
    first = names[0] if names else ""
    ends = (first[place.start() :] for place in re.finditer("[_ -]", first))
    fits = (end for end in ends if COMMON_END.fullmatch(end) and all(name[: -len(end)] + end == name for name in names))
    return next((end for end in fits if end not in names), "")


def _by_ending(names: Mapping[str, Sequence[str]]) -> Kin | None:
    """Find names in different splits that differ only by one of the known endings."""
    every = [name for members in names.values() for name in members]
    twice = any(re.search(BEFORE, name) for name in every)
    for pattern in PATTERNS:
        wide = pattern.replace("(?:", f"(?:{BEFORE})?(?:", 1)
        wider = [wide] if twice and pattern.startswith("^(.+?)") and _is_coarser(every, wide, pattern) else []
        for each in (*wider, pattern):
            if GRID in each and not _is_grid(every):
                continue
            found = dict(_divided(names, re.compile(each)))
            if found and not _is_prefix(every, re.compile(each)):
                one, other = next(iter(found.values()))
                return Kin(one, other, len(found), each)
    return None


def _is_coarser(names: Sequence[str], wide: str, narrow: str) -> bool:
    """Tell whether a pattern of two endings joins what that of the last one has joined, and both endings occur."""
    both = re.compile(wide.replace(")?", ")"))
    if not any(both.match(composed(name)) for name in names):
        return False
    counts = [len({_core(name, re.compile(each)) for name in names}) for each in (wide, narrow)]
    return counts[0] < counts[1]


def _is_grid(names: Sequence[str]) -> bool:
    """Tell whether the last two numbers of names are offsets of tiles: multiples of a step, or a full grid from 0."""
    places: dict[str, set[tuple[int, int]]] = {}
    for name in names:
        match = re.match(r"^(.+)[_ -](\d+)[_ -](\d+)$", composed(name))
        if match is None:
            return False
        places.setdefault(match[1], set()).add((int(match[2]), int(match[3])))
    several = [found for found in places.values() if len(found) > 1]
    if not several:
        return False
    if math.gcd(*(offset for found in several for place in found for offset in place)) >= STEP:
        return True
    return all(_is_full(found) for found in several)


def _is_full(places: set[tuple[int, int]]) -> bool:
    rows, columns = ({place[axis] for place in places} for axis in (0, 1))
    sides = [sorted(side) == list(range(len(side))) and len(side) > 1 for side in (rows, columns)]
    return all(sides) and len(places) == len(rows) * len(columns)


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
    kinds = len(cores) < FEW_KINDS and max(cores.values()) > 2 and not any(re.search(r"\d", core) for core in cores)
    kinds |= all(YEAR.fullmatch(core) for core in cores)
    return kinds or max(cores.values()) > max(MOST_OF_A_KIND * len(names), 2) or len(cores) < 3
