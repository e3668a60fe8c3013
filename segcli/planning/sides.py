"""Propose the split of a data set: folders or lists that are there, or shares of whole groups."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.core.text import read_table, read_text
from segcli.data.split_settings import SIDES
from segcli.planning.facts import Recognised
from segcli.planning.groups import Groups, groups_of
from segcli.planning.listing import Listing

__all__ = ["draw", "drawn_share", "side_of_name", "split_of_lists"]

WORDS = {
    "train": re.compile(r"^(train(ing)?|tr|trn|learn(ing)?)([_-]?(set|data|split))?$"),
    "val": re.compile(r"^(val(id(ation)?)?|dev|eval)([_-]?(set|data|split))?$"),
    "test": re.compile(r"^(test(ing)?|ts|tst|holdout)([_-]?(set|data|split))?$"),
}
FEW, MANY = 10, 60
"""Below `FEW` groups one group validates; from `MANY` on a test split is drawn too."""
INLINE = 300
"""Names of a table that are written into the data-set file; longer lists are not."""
KNOWN = 0.9
"""Smallest share of the lines of a list that name samples."""


def side_of_name(name: str) -> str | None:
    """Tell which split a folder or file is named after; None if after none.

    Example:
        >>> side_of_name("Training"), side_of_name("images")
        ('train', None)
    """
    return next((side for side, words in WORDS.items() if words.match(name.lower())), None)


def drawn_share(groups: int) -> tuple[float, float]:
    """Propose the shares of validation and test for so many groups; 0 for none.

    Example:
        >>> drawn_share(1), drawn_share(5), drawn_share(20), drawn_share(100)
        ((0.0, 0.0), (0.2, 0.0), (0.2, 0.0), (0.1, 0.1))
    """
    if groups < 2:
        return 0.0, 0.0
    if groups < FEW:
        return max(round(1 / groups, 2), 0.15), 0.0
    return (0.2, 0.0) if groups < MANY else (0.1, 0.1)


def draw(
    found: Recognised,
    names: Sequence[str],
    *,
    by: str | None,
    unit: str,
    val_only: bool = False,
    groups: Groups | None = None,
) -> None:
    """State shares of whole groups for the splits that are not there.

    Args:
        found: Its keys get `split`.
        names: Names of the samples to draw from.
        by: Value of `split.by`; None leaves it out.
        unit: Word for a sample.
        val_only: Draws no test split, because there is one.
        groups: Groups that belong together; default: those that the names show.
    """
    groups = groups or groups_of(names)
    count = len(names) if groups is None else groups.count
    val, test = drawn_share(count)
    if val_only:
        test = 0.0
    if by is not None:
        found.state("split.by", by)
    if not val:
        found.state("split.val", 0.0)
        found.notes.append(f"one {unit} cannot be divided: there is no validation, and no score of unseen data")
        return
    whole = f"{count} groups" if groups else f"{count} {unit}s"
    few = "; no test split, because every one is needed to learn" if not test and not val_only else ""
    found.state("split.val", val, f"shares of {whole}, drawn by `seed`{few}", "likely")
    if test:
        found.state("split.test", test)
    if groups is not None:
        one, other = groups.example
        reason = (
            f"keeps names together that differ only in their ending, such as {one} and {other}: {groups.count} groups"
        )
        found.state("split.group", groups.pattern, reason, "likely")


def split_of_lists(found: Recognised, listing: Listing, names: Sequence[str], *, by: str | None) -> bool:
    """State the split that text files or a table list; returns whether there is one."""
    known = {composed(name) for name in names}
    lists = _text_files(listing, known)
    if "train" in lists or len(lists) > 1:
        if by is not None:
            found.state("split.by", by)
        for side in (side for side in SIDES if side in lists):
            found.state(f"split.{side}", lists[side][0], f"{lists[side][1]} names in this file")
        return True
    for table in listing.tables:
        with suppress(DataError, OSError):
            sides = _of_table(table, known)
            if sides and len(known) <= INLINE:
                if by is not None:
                    found.state("split.by", by)
                for side, members in sides.items():
                    found.state(f"split.{side}", members, f"column of `{table.name}`")
                return True
    return False


def _text_files(listing: Listing, known: set[str]) -> dict[str, tuple[str, int]]:
    """Find a text file of names for each split, relative to the folder, with the number of its names.

    All are of one folder, the one with lists of most splits: there may be lists for other tasks.
    """
    found: dict[Path, dict[str, tuple[str, int]]] = {}
    for file in listing.texts:
        side, lists = side_of_name(file.stem), found.setdefault(file.parent, {})
        if side is None or side in lists:
            continue
        with suppress(DataError, OSError):
            lines = [line.strip() for line in read_text(file).splitlines()]
            lines = [line for line in lines if line and not line.startswith("#")]
            if lines and sum(_is_known(line, known) for line in lines) >= KNOWN * len(lines):
                lists[side] = file.relative_to(listing.root).as_posix(), len(lines)
    return max(found.values(), key=len, default={})


def _is_known(line: str, known: set[str]) -> bool:
    forms = (line, re.sub(r"\.\w+$", "", line), Path(line).stem)
    return any(composed(form) in known for form in forms)


def _of_table(table: Path, known: set[str]) -> Mapping[str, list[str]]:
    """Read names and splits of a table with a column of each; empty if it has none."""
    columns, rows = read_table(table)
    side_columns = [c for c in columns if rows and all(side_of_name(row.cells[c]) for row in rows)]
    for name in columns:
        fits = sum(_is_known(row.cells[name], known) for row in rows)
        if side_columns and rows and fits >= KNOWN * len(rows):
            sides: dict[str, list[str]] = {}
            for row in rows:
                cell = row.cells[name]
                kept = cell if composed(cell) in known else Path(cell).stem
                if composed(kept) in known:
                    sides.setdefault(side_of_name(row.cells[side_columns[0]]) or "", []).append(kept)
            return {side: sides[side] for side in SIDES if side in sides}
    return {}
