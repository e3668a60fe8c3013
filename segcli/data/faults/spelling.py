"""Findings on the names of files: names that are easily confused, and numbers that are missing in a row."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from segcli.data.checks import Finding
from segcli.data.faults.follow_ups import explained
from segcli.data.faults.names import gaps_in_numbers, same_but_for_case

__all__ = ["names_to_confuse", "numbers_missing"]

SHOWN = 4


def names_to_confuse(paths: Iterable[Path]) -> Iterator[Finding]:
    """Find files of one folder, and folders beside each other, whose names differ only in capital letters."""
    folders: dict[Path, dict[str, Path]] = {}
    for path in paths:
        for each in (path, path.parent, path.parent.parent):
            folders.setdefault(each.parent, {})[each.name] = each
    for folder, names in folders.items():
        for same in same_but_for_case(names):
            listed = " and ".join(f"`{name}`" for name in same)
            message = f"names in `{folder}` differ only in capital letters: {listed}"
            hint = "rename one of them: Windows and macOS take them for one file"
            first, *others = (folder / name for name in reversed(same))
            yield Finding("same_but_for_case", "warning", first, message, hint, tuple(others))


def numbers_missing(names: Iterable[str], root: Path, told: Iterable[Finding] = ()) -> Iterator[Finding]:
    """Find gaps in the numbers of the cases of a data set.

    Args:
        names: Names of all cases.
        root: Folder of the data set.
        told: Other findings; cases that they name are left out.
    """
    missing = [name for _, names_missing in gaps_in_numbers(names) for name in names_missing]
    known = explained(missing, told)
    missing = [name for name in missing if name not in known]
    if not missing:
        return
    shown = ", ".join(f"`{name}`" for name in missing[:SHOWN])
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    message = f"the names of the cases in `{root}` are numbered, but {shown}{more} {_verb(missing)} missing"
    yield Finding("gaps_in_numbers", "info", root, message, "ignore this if they were left out on purpose")


def _verb(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"
