"""Text files that users write: UTF-8 with or without a byte order mark, UTF-16 with one; JSON and CSV tables."""

import codecs
import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError, repeated

__all__ = ["Row", "read_json", "read_table", "read_text"]

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks at the beginning of a file."""
LONGEST = 2**26
"""Bytes of a text file."""
LONGEST_HEADER = 2**16
"""Characters of the first line of a table."""
SEPARATORS = ",;\t"
STATED = re.compile(r"sep=([^\w\s\"]|\t)", re.IGNORECASE)
"""First line with which spreadsheets state the separator."""
SAVE = "save the file as UTF-8"


@dataclass(frozen=True)
class Row:
    """Holds one row of a table."""

    line: int
    """Line of the file in which the row ends."""
    cells: dict[str, str]
    """Text of each column, without spaces around it."""


def read_text(path: Path, longest: int = LONGEST) -> str:
    """Read a text file whose encoding follows from its byte order mark; UTF-8 without one.

    Args:
        path: The file.
        longest: Largest number of bytes.

    Raises:
        OSError: The file cannot be opened.
        DataError: The file is larger, or holds bytes that are not text in its encoding; the message names the line.
    """
    with path.open("rb") as stream:
        stored = stream.read(longest + 1)
    if len(stored) > longest:
        raise DataError(f"`{path}` is larger than {longest // 2**20} MiB", hint="give the file that you meant")
    encoding = next((name for mark, name in MARKS if stored.startswith(mark)), "utf-8")
    try:
        text = stored.decode(encoding)
    except UnicodeDecodeError as error:
        line = stored[: error.start].count(b"\n") + 1
        shown = f"byte 0x{stored[error.start]:02x}" if error.start < len(stored) else "its end"
        name = encoding.removesuffix("-sig").upper()
        raise DataError(f"`{path}:{line}` is not {name} text ({shown})", hint=SAVE) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"`{path}:{line}` is not text (it holds a zero byte)", hint=SAVE)
    return text


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        OSError: The file cannot be opened.
        DataError: The file is not JSON, or holds something else; the message names the line.
    """
    try:
        values = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        message = f"`{path}:{error.lineno}` is not valid JSON ({error.msg}, column {error.colno})"
        raise DataError(message, hint="correct this line") from None
    except ValueError:  # more digits than Python converts
        raise DataError(f"`{path}` holds a number of too many digits", hint="write the file again") from None
    except RecursionError:
        raise DataError(f"`{path}` is not usable JSON (it is nested too deeply)", hint="write the file again") from None
    if not isinstance(values, dict):
        raise DataError(f"`{path}` holds no keys", hint='it holds an object such as `{"key": "value"}`')
    return values


def read_table(path: Path) -> tuple[list[str], list[Row]]:
    """Read a CSV table: its columns and its rows.

    The header decides whether commas, semicolons or tabs separate the cells, unless a line such as `sep=;` before it
    does. Rows without any text are left out.

    Raises:
        OSError: The file cannot be opened.
        DataError: The file is not such a table; the message names the line and the columns found.
    """
    text = io.StringIO(read_text(path), newline=None)
    header = next((line for line in text if line.strip()), "")
    if len(header) > LONGEST_HEADER:
        raise DataError(f"`{path}` has a first line of {len(header):,} characters", hint="give the right table")
    stated = STATED.fullmatch(header.strip(" \n"))
    if stated is None:
        text.seek(0)
    before = text.getvalue()[: text.tell()].count("\n")
    columns: list[str] = []
    rows: list[Row] = []
    if len(header) > LONGEST_HEADER:
        raise DataError(f"`{path}` has a first line of {len(header):,} characters", hint="give the right table")
    separator = _separator(header) if stated is None else stated[1]
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if not columns:
                columns = _columns(stripped, path)
                continue
            if any(stripped[len(columns) :]):
                raise DataError(
                    f"`{path}:{reader.line_num + before}` has {len(stripped)} cells, but the table has {len(columns)} "
                    f"columns: {', '.join(columns)}",
                    hint='put a text that holds the separator in quotes, such as `"a, b"`',
                )
            filled = stripped + [""] * (len(columns) - len(stripped))
            rows.append(Row(reader.line_num + before, dict(zip(columns, filled, strict=False))))
    except csv.Error as error:
        raise DataError(
            f"`{path}:{reader.line_num + before}` is not a row of a table ({error})", hint="correct this line"
        ) from None
    return columns, rows


def _separator(header: str) -> str:
    """Choose the separator that cuts the header into most cells."""

    def cells(separator: str) -> int:
        return len(next(csv.reader([header], delimiter=separator, skipinitialspace=True), []))

    return max(SEPARATORS, key=cells)


def _columns(cells: list[str], path: Path) -> list[str]:
    while not cells[-1]:
        cells = cells[:-1]
    twice = repeated([name for name in cells if name])
    if twice is not None:
        raise DataError(f"`{path}` has the column `{twice}` twice", hint="rename or remove one of them")
    return cells
