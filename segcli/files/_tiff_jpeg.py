"""TIFF files with strips or tiles of JPEG, whose data end too early or go on behind the last pixel."""

import struct
from pathlib import Path

from segcli.core.errors import DataError
from segcli.files._jpeg_blocks import fault_of_jpeg
from segcli.files._tiff_open import open_tiff

__all__ = ["fault_of_tiff", "holds_jpeg"]

ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
COMPRESSION, JPEG = 259, 7
ENTRY = 12
"""Bytes of an entry of a directory."""
START, END = b"\xff\xd8", b"\xff\xd9"


def holds_jpeg(path: Path) -> bool:
    """Tell whether the first page of a TIFF file is stored as JPEG; only its directory is read."""
    with path.open("rb") as file:
        head = file.read(8)
        order = ORDERS.get(head[:4])
        if order is None or len(head) < 8:
            return False
        file.seek(struct.unpack(f"{order}I", head[4:])[0])
        count = file.read(2)
        entries = file.read(ENTRY * struct.unpack(f"{order}H", count)[0]) if len(count) == 2 else b""
    for at in range(0, len(entries) - ENTRY + 1, ENTRY):
        if struct.unpack_from(f"{order}H", entries, at)[0] == COMPRESSION:
            return bool(struct.unpack_from(f"{order}H", entries, at + 8)[0] == JPEG)
    return False


def fault_of_tiff(path: Path) -> str | None:
    """Say what is wrong with a strip or tile of the first page; None for a whole file, and if it cannot be told."""
    try:
        with open_tiff(path) as file:
            page = file.pages.first
            tables = page.jpegtables or START + END
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                file.filehandle.seek(offset)
                data = file.filehandle.read(count)
                fault = fault_of_jpeg(tables[:-2] + data[2 : data.rfind(END) + 2]) if END in data else None
                if fault is not None:
                    return fault
    except (DataError, OSError, ValueError):  # reported with the pixels
        return None
    return None
