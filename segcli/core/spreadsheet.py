"""CSV tables that a spreadsheet shows as they are: a name from a file is never computed."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from segcli.core.files import write_text

__all__ = ["quoted", "read_cells", "write_cells"]

COMPUTED = ("=", "+", "-", "@", "\t", "\n")
"""Beginnings of cells that a spreadsheet computes, or looks at after it has removed blanks."""


def write_cells(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a table atomically; a text that a spreadsheet would compute gets an apostrophe before it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([quoted(cell) for cell in row] for row in rows)
    write_text(path, text.getvalue())


def read_cells(path: Path) -> list[list[str]]:
    """Read a table that `write_cells` wrote, without the apostrophes that it added.

    Raises:
        csv.Error: The file is no table.
    """
    rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
    return [[cell.removeprefix("'") if _is_computed(cell.lstrip("'")) else cell for cell in row] for row in rows]


def quoted(cell: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would compute; leave other cells unchanged."""
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", "\\r")  # a row would end there
    return f"'{text}" if _is_computed(text.lstrip("'")) else text


def _is_computed(text: str) -> bool:
    if not text.startswith(COMPUTED):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False
