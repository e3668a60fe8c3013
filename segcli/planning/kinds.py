"""Find several kinds of files for each case in one folder: `p1_flair`, `p1_t1` and `p1_seg`, or two masks."""

from collections.abc import Sequence

from segcli.planning.pairs import SEPARATORS

__all__ = ["kinds_of"]

SHARED = 0.5
"""Smallest share of the cases that have a file of a kind."""
TRIED = 30
"""Ends of names that are tried, those of most cases first."""
FEW = 8
"""Up to so many files can be those of one case."""


def kinds_of(stems: Sequence[str]) -> dict[str, list[str]] | None:
    """Find the names of cases by the ends that the stems of their files have; None without several kinds.

    Example:
        >>> kinds_of(["p1_flair", "p1_seg", "p1_t1", "p2_flair", "p2_seg", "p2_t1"])
        {'_flair': ['p1', 'p2'], '_seg': ['p1', 'p2'], '_t1': ['p1', 'p2']}
        >>> kinds_of(["01L", "01L_1stHO", "01L_2ndHO", "01R", "01R_1stHO", "01R_2ndHO"])["_1stHO"]
        ['01L', '01R']
    """
    every = dict.fromkeys(stems)
    ends: dict[str, list[str]] = {}
    for stem in every:
        for at in range(1, len(stem)):
            if stem[at] in SEPARATORS:
                ends.setdefault(stem[at:], []).append(stem[:at])
    best: dict[str, list[str]] | None = None
    most = (0, 0)
    for end in sorted(ends, key=lambda end: -len(ends[end]))[:TRIED]:
        cases = set(ends[end])
        needed = SHARED * len(cases)
        often = {other: keys for other, keys in ends.items() if len(keys) >= needed}
        kinds = {other: keys for other, keys in often.items() if len(cases.intersection(keys)) >= needed}
        if sum(case in every for case in cases) >= needed:
            kinds = {"": [case for case in every if case in cases], **kinds}
        covered = sum(len(cases.intersection(keys)) for keys in kinds.values())
        if len(cases) > 1 and len(kinds) > 1 and (covered, -len(kinds)) > most:
            best, most = kinds, (covered, -len(kinds))
    return best or _of_one_case(list(every))


def _of_one_case(stems: Sequence[str]) -> dict[str, list[str]] | None:
    """Find the kinds of the only case."""
    case = min(stems)
    while case and not all(_begins(stem, case) for stem in stems):
        case = case[:-1]
    return {stem[len(case) :]: [case] for stem in stems} if case and 2 < len(stems) <= FEW else None


def _begins(stem: str, case: str) -> bool:
    return stem.startswith(case) and stem[len(case) : len(case) + 1] in ("", *SEPARATORS)
