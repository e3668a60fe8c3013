"""Read splits from what lists names: text files, tables, and JSON files of nnU-Net and others."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.core.text import read_table, read_text
from segcli.data.split_settings import SIDES
from segcli.data.splits import named_by
from segcli.planning.facts import Recognised
from segcli.planning.listing import TABLES, Listing
from segcli.planning.sides import INLINE, draw, side_of_name

__all__ = ["split_of_lists"]

WORDS = re.compile(r"^(list|files?|ids?|split)[_-]|[_-]?(list|ids?|files?|filenames|names|images?)$")
"""Words that stand in the name of a list beside that of its split."""
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
"""First word of a name."""
KNOWN = 0.5
"""Smallest share of the lines that name samples; fewer are a list of something else."""
LONGEST_JSON = 20_000_000
Known = Mapping[str, str]
"""Names of the samples by their normal form."""


@dataclass(frozen=True)
class Listed:
    """Holds what a list says about a split."""

    source: str
    """File, relative to the folder."""
    names: list[str]
    """Names of samples."""
    strangers: list[str]
    """Lines that name none."""
    is_plain: bool = False
    """True for a text file that a data-set file can point to."""
    pattern: str = ""
    """Wildcard that fits these names alone."""


def split_of_lists(found: Recognised, listing: Listing, names: Sequence[str], *, by: str | None) -> bool:
    """State the split that text files, a table or a JSON file list; returns whether there is one.

    Args:
        found: Its keys get `split`.
        listing: Files of the data set.
        names: Names of the samples.
        by: Value of `split.by`; None leaves it out.
    """
    known = {composed(name): name for name in names}
    for there in (_text_files(listing, known), *_tables(listing, known), *_json_files(listing, known), _by_name(names)):
        lists = {side: there[side] for side in SIDES if side in there}
        if not lists or (list(lists) == ["train"] and len(lists["train"].names) == len(known)):
            continue
        sources = ", ".join(dict.fromkeys(f"`{each.source}`" for each in lists.values()))
        verb = "are" if "," in sources else "is"
        strangers = [line for each in lists.values() for line in each.strangers]
        count = sum(len(each.names) for each in lists.values())
        if count > INLINE and (strangers or not all(each.is_plain or each.pattern for each in lists.values())):
            found.notes.append(f"{sources} {verb} not followed: write the names into a text file for each split")
            continue
        if strangers:
            found.notes.append(
                f"lines of {sources} that name what is not there are left out: {len(strangers)}, "
                f"such as `{strangers[0]}`"
            )
        _state(found, lists, names, by=by, inline=bool(strangers))
        return True
    return False


def _state(
    found: Recognised, lists: Mapping[str, Listed], names: Sequence[str], *, by: str | None, inline: bool
) -> None:
    """State the lists; where none is for validation, a share of the other names is drawn."""
    if by is not None:
        found.state("split.by", by)
    taken = {name for side in lists if side != "train" for name in lists[side].names}
    rest = [name for name in names if name not in taken]
    rests = "train" not in lists or set(lists["train"].names) == set(rest)
    draws = "val" not in lists and rests
    if draws:
        draw(found, rest, by=None, unit="sample", val_only="test" in lists, taken=[*taken])
    for side in SIDES:
        if side in lists and not (side == "train" and draws):
            each = lists[side]
            value = each.source if each.is_plain and not inline else [each.pattern] if each.pattern else each.names
            reason = "names begin with it" if each.pattern else f"{len(each.names)} names of `{each.source}`"
            found.state(f"split.{side}", value, reason)
    if "val" not in lists and not draws:
        found.notes.append("no list is for validation, so that no best epoch is chosen: list some names as `split.val`")


def _side(stem: str) -> str | None:
    """Tell which split a list is for; `trainval` is all that is no test."""
    return "train" if stem.lower() == "trainval" else side_of_name(stem) or side_of_name(WORDS.sub("", stem.lower()))


def _listed(source: str, lines: Sequence[str], known: Known, *, is_plain: bool = False) -> Listed | None:
    """Look up lines; None if they name something else."""
    found = [(line, named_by(composed(line), known)) for line in lines]
    strangers = [line for line, names in found if not names]
    if not lines or len(lines) - len(strangers) < KNOWN * len(lines):
        return None
    names = dict.fromkeys(name for _, names in found for name in names)
    return Listed(source, list(names), strangers, is_plain)


# ---- text files


def _text_files(listing: Listing, known: Known) -> dict[str, Listed]:
    """Find a text file or a table of names for each split.

    All are of one folder, the one with lists of most splits: there may be lists for other tasks.
    """
    found: dict[Path, dict[str, Listed]] = {}
    for file in sorted(listing.texts, key=lambda file: file.stem.lower() == "trainval"):
        side, lists = _side(file.stem), found.setdefault(file.parent, {})
        if side is None or side in lists:
            continue
        source = file.relative_to(listing.root).as_posix()
        with suppress(DataError, OSError):
            each = _listed(source, list(_lines(file)), known, is_plain=file.suffix.lower() not in TABLES)
            if each is not None:
                lists[side] = each
    return max(found.values(), key=_fit, default={})


def _fit(lists: Mapping[str, Listed]) -> tuple[int, int]:
    return len(lists), -sum(len(each.strangers) for each in lists.values())


def _lines(file: Path) -> Iterator[str]:
    if file.suffix.lower() in TABLES:
        columns, rows = read_table(file)
        yield from (row.cells[columns[0]] for row in rows)
        return
    lines = (line.strip() for line in read_text(file).splitlines())
    yield from (line for line in lines if line and not line.startswith("#"))


# ---- names


def _by_name(names: Sequence[str]) -> dict[str, Listed]:
    """Divide names that all begin with their split, such as `train_01` and `test_01`; empty if not all do."""
    words = {name: WORD.match(name) for name in names}
    sides = {name: side_of_name(word.group()) if word else None for name, word in words.items()}
    if None in sides.values() or "train" not in sides.values() or len(set(sides.values())) < 2:
        return {}
    lists = {}
    for side in SIDES:
        mine = [name for name in names if sides[name] == side]
        begin = next((word.group() for name in mine if (word := words[name])), "")
        fits = [name for name in names if name.startswith(begin)] == mine
        if mine:
            lists[side] = Listed("names", mine, [], pattern=f"{begin}*" if fits else "")
    return lists


# ---- tables and JSON files


def _tables(listing: Listing, known: Known) -> Iterator[dict[str, Listed]]:
    """Read names and splits of tables with a column of each."""
    for table in listing.tables:
        with suppress(DataError, OSError):
            columns, rows = read_table(table)
            sides = [c for c in columns if rows and all(side_of_name(row.cells[c]) for row in rows)]
            for column in columns if sides else ():
                lines: dict[str, list[str]] = {}
                for row in rows:
                    lines.setdefault(side_of_name(row.cells[sides[0]]) or "", []).append(row.cells[column])
                lists = _all_listed(table.name, lines, known)
                if lists:
                    yield lists
                    break


def _json_files(listing: Listing, known: Known) -> Iterator[dict[str, Listed]]:
    """Read names of JSON files with a list for each split, or with such lists for each fold."""
    for file in listing.ending(".json").get(".", []):
        if file.stat().st_size > LONGEST_JSON:
            continue
        with suppress(DataError, OSError, ValueError, RecursionError):
            content = json.loads(read_text(file, LONGEST_JSON))
            first = content[0] if isinstance(content, list) and content else content
            if isinstance(first, dict):
                lines = {side: _texts(value) for key, value in first.items() if (side := _side(key)) is not None}
                source = f"{file.name} (the first of {len(content)})" if first is not content else file.name
                yield _all_listed(source, {side: each for side, each in lines.items() if each}, known)


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _all_listed(source: str, lines: Mapping[str, Sequence[str]], known: Known) -> dict[str, Listed]:
    """Look up the lines of all splits; empty if one of them names something else."""
    found = {side: _listed(source, lines[side], known) for side in SIDES if side in lines}
    lists = {side: each for side, each in found.items() if each is not None}
    return lists if len(lists) == len(found) > 1 else {}
