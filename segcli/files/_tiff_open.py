"""Opens TIFF files without trust in their directories, and without the files that their metadata name."""

import logging
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from segcli.core.errors import DataError

__all__ = ["Directories", "directories", "is_tiff", "open_tiff"]

PAGES = 100_000
"""Largest number of pages of a file, those below other pages included."""
ENTRIES = 4096
"""Largest number of entries of a page."""
SUB_PAGES = 330
"""Code of the entry that lists pages below a page."""
WIDTHS = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8], np.uint64)
"""Bytes of a value of each type."""
ORDERS = {b"II": "<", b"MM": ">", b"EP": "<"}
"""Orders of bytes, by the first two of a file."""
NEEDED = {256: "columns", 257: "rows", 277: "samples per pixel"}
"""Codes of the entries that cannot be 0."""
IMAGES = re.compile(r"^images=(\d{1,9})\s*$", re.MULTILINE)
"""Number of images in the description of ImageJ."""
HINT = "replace the file, or remove it from the data set"

logging.getLogger("tifffile").addFilter(lambda record: False)  # what matters is an error with a message of its own


@dataclass(frozen=True)
class Directories:
    """Lists the pages of a file, as found by following its directories."""

    offsets: tuple[int, ...]
    """Position of each page."""
    is_complete: bool = True
    """False if the last page leads to a position outside the file, or to one that holds no page."""


@dataclass(frozen=True)
class _Form:
    """Describes how directories are stored."""

    order: str
    count: str
    width: int
    offset: str
    first: int

    @property
    def entry(self) -> np.dtype[np.void]:
        """Return the start of an entry: its code, the type of its values, and their number."""
        number = f"{self.order}u{8 if self.width == 20 else 4}"
        fields = [("code", f"{self.order}u2"), ("type", f"{self.order}u2"), ("count", number)]
        return np.dtype([*fields, ("rest", f"V{self.width - 4 - np.dtype(number).itemsize}")])


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a file; its metadata cannot make tifffile read other files.

    Raises:
        DataError: The directories run in a circle, the file holds no page or too many, or it ends within its images.
    """
    found = directories(path)
    file = tifffile.TiffFile(path, _multifile=False)
    file.is_mmstack = file.is_ndtiff = False  # their readers open all files of a recording
    try:
        if len(found.offsets) == 1 and names_other_files(file):
            file.is_ome = False  # one page is one image, whatever the other files hold
        if len(found.offsets) == 1 and file.is_imagej:
            _refuse_lost_images(path, file)
    except BaseException:
        file.close()
        raise
    return file


def _refuse_lost_images(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse a stack of ImageJ with one page whose file was cut; tifffile would take it for a single image.

    One image beside the description of a stack is an image that was taken out of it.
    """
    page: Any = file.pages[0]
    stated = IMAGES.search(page.description)
    if stated is None or not page.is_contiguous or not page.nbytes:
        return
    there, count = (path.stat().st_size - page.dataoffsets[0]) // page.nbytes, int(stated[1])
    if 2 <= there < count:
        message = f"`{path}` states {count} images, but ends after {there}, so further slices are missing"
        raise DataError(message, hint="copy or export the file again")


def is_tiff(path: Path) -> bool:
    """Tell whether a file begins like a TIFF file, or is too short to tell."""
    with path.open("rb") as stream:
        head = stream.read(4)
    return len(head) < 4 or head[:2] in ORDERS


def names_other_files(file: tifffile.TiffFile) -> bool:
    """Tell whether the OME metadata of a file spread its planes over several files."""
    return bool(file.is_ome) and "<UUID" in (file.ome_metadata or "") and "FileName=" in (file.ome_metadata or "")


def directories(path: Path) -> Directories:
    """Follow the directories of a file; a file is followed once.

    Raises:
        DataError: The directories run in a circle, or the file holds no page or too many.
    """
    stat = path.stat()
    return _followed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _followed(path: Path, _changed: int, size: int) -> Directories:
    with path.open("rb") as stream:
        form = _form(stream, path)
        return Directories(()) if form is None else _chain(stream, form, path, size)


def _form(stream: BinaryIO, path: Path) -> _Form | None:
    """Read the header; None for a file that is no TIFF, which tifffile says in its own words."""
    head = stream.read(16)
    order = ORDERS.get(head[:2])
    if order is None or len(head) < 8:
        return None
    if struct.unpack(f"{order}H", head[2:4])[0] == 43:
        return _Form(order, "Q", 20, "Q", 8)
    if path.suffix.lower() == ".ndpi" and order == "<":
        return _Form(order, "H", 12, "Q", 4)
    return _Form(order, "H", 12, "I", 4)


def _chain(stream: BinaryIO, form: _Form, path: Path, size: int) -> Directories:
    """Follow the chain of pages from the header, page by page."""
    seen: dict[int, int] = {}
    values, below, at, entry = 0, 0, form.first, form.entry
    while True:
        stream.seek(at)
        data = stream.read(struct.calcsize(form.offset))
        offset = struct.unpack(form.order + form.offset, data)[0] if len(data) == struct.calcsize(form.offset) else -1
        if offset == 0:
            break
        if offset in seen:
            raise DataError(f"`{path}` has no last page: page {len(seen)} leads back to page {seen[offset]}", hint=HINT)
        count = _count(stream, form, offset)
        if count is None:
            return Directories(_some(seen, path), is_complete=False)
        tags = np.frombuffer(block := stream.read(count * form.width), entry, len(block) // form.width)
        seen[offset] = len(seen) + 1
        _refuse_empty(tags, f"page {len(seen)} of `{path}`")
        known = np.where(tags["type"] < len(WIDTHS), tags["type"], 0)
        lengths = np.minimum(tags["count"].astype(np.uint64), np.uint64(size)) * WIDTHS[known]
        values += int(np.minimum(lengths, np.uint64(size)).sum())
        below += int(np.minimum(tags["count"][tags["code"] == SUB_PAGES], PAGES + 1).sum())
        if len(seen) + below > PAGES:
            raise DataError(f"`{path}` holds more than {PAGES} pages", hint="split it into smaller files")
        if values > 8 * size + 2**20:
            raise DataError(f"the pages of `{path}` state more data than the file holds ({size} bytes)", hint=HINT)
        at = offset + struct.calcsize(form.count) + count * form.width
    return Directories(_some(seen, path))


def _refuse_empty(tags: np.ndarray[Any, Any], page: str) -> None:
    for code, word in NEEDED.items():
        for value in tags["rest"][tags["code"] == code]:
            if not any(value.tobytes()):
                raise DataError(f"{page} has 0 {word}", hint=HINT)


def _count(stream: BinaryIO, form: _Form, offset: int) -> int | None:
    """Read the number of entries of a page; None if there is no page."""
    if offset < 0:
        return None
    stream.seek(offset)
    data = stream.read(struct.calcsize(form.count))
    count = struct.unpack(form.order + form.count, data)[0] if len(data) == struct.calcsize(form.count) else None
    return None if count is None or count > ENTRIES else int(count)


def _some(seen: dict[int, int], path: Path) -> tuple[int, ...]:
    if not seen:
        raise DataError(f"`{path}` holds no pages", hint=HINT)
    return tuple(seen)
