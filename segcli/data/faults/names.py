"""Names of files that are easily confused, and numbers that are missing in a row."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from segcli.core.names import composed

__all__ = ["gaps_in_numbers", "same_but_for_case"]

REGULAR = 0.8
"""Share of the steps from number to number that must be equal before a larger one is a gap."""
ROW = 6
"""A shorter row of numbers has no gaps."""
LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$")


def same_but_for_case(names: Iterable[str]) -> Iterator[list[str]]:
    """Find names that differ only in capital letters: on Windows and macOS they are one file.

    Example:
        >>> list(same_but_for_case(["a1", "A1", "b"]))
        [['A1', 'a1']]
    """
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        found[composed(name).casefold()].add(composed(name))
    yield from (sorted(same) for same in found.values() if len(same) > 1)


def gaps_in_numbers(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Find names that are missing in a row of names that are numbered in equal steps.

    Yields:
        A name before the gap, and the names that are missing.

    Example:
        >>> list(gaps_in_numbers(["f01", "f02", "f03", "f05", "f06", "f07", "f08"]))
        [('f03', ['f04'])]
    """
    rows: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for name in names:
        match = LAST_NUMBER.match(composed(name))
        if match is not None:
            width = len(match[2]) if match[2].startswith("0") or len(match[2]) > 1 else 0
            rows[match[1], match[3], width].add(int(match[2]))
    for (before, after, width), found in rows.items():
        numbers = sorted(found)
        steps = Counter(b - a for a, b in itertools.pairwise(numbers))
        if len(numbers) < ROW:
            continue
        step, times = steps.most_common(1)[0]
        if times < REGULAR * (len(numbers) - 1):
            continue
        for low, high in itertools.pairwise(numbers):
            if high - low > step and (high - low) % step == 0:
                missing = [f"{before}{number:0{width}d}{after}" for number in range(low + step, high, step)]
                yield f"{before}{low:0{width}d}{after}", missing
