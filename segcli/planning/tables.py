"""Read the names of classes from tables beside the masks."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.names import printable
from segcli.core.text import read_table
from segcli.data.classes.colors import MAX_COLORS, RGB

__all__ = ["Named", "named_in_tables"]


@dataclass(frozen=True)
class Named:
    """Holds a class of a table."""

    name: str
    number: int | None = None
    color: RGB | None = None


def named_in_tables(tables: Sequence[Path]) -> list[Named]:
    """Read the classes of the first table that names some: by number, by colour, or both."""
    for table in tables:
        with suppress(DataError, OSError):
            columns, rows = read_table(table)
            places = {key: _column(columns, *words) for key, words in COLUMNS.items()}
            name = places["name"]
            painted = all(places[letter] for letter in "rgb")
            if name is None or not (painted or places["number"]) or len(rows) > MAX_COLORS:
                continue
            found = [_named(row.cells, places, painted=painted) for row in rows if row.cells[name]]
            if found and None not in found and len({each.name for each in found if each}) == len(found):
                return [each for each in found if each is not None]
    return []


COLUMNS = {
    "name": ("name", "class", "label", "category", "class_name"),
    "number": ("id", "number", "index", "value", "trainid", "train_id", "class_id"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
}


def _column(columns: Sequence[str], *words: str) -> str | None:
    return next((column for word in words for column in columns if column.strip().lower() == word), None)


def _named(cells: Mapping[str, str], places: Mapping[str, str | None], *, painted: bool) -> Named | None:
    try:
        number = places["number"]
        levels = [int(cells[places[letter] or ""]) for letter in "rgb"] if painted else []
        color = (levels[0], levels[1], levels[2]) if painted else None
        return Named(printable(cells[places["name"] or ""]), None if number is None else int(cells[number]), color)
    except (ValueError, KeyError):
        return None
