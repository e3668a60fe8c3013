"""TIFF files whose strips of fax code (CCITT T.4 and T.6) end early: tifffile fills up the missing rows with 0.

A decoder stops at the last row, so whatever is put behind whole data changes nothing. Behind data that were cut, it is
decoded as further pixels, or cannot be understood.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import imagecodecs

from segcli.core.errors import DataError

__all__ = ["refuse_cut_fax"]

FAX = (2, 3, 4)
"""Compressions of TIFF that store runs of black and white."""
REVERSED = 2
"""Order of bits in which the first pixel is the lowest bit."""
REPEATED = b"\xff" * 64
"""Code of rows like the one above."""
BLACK = int("0011010111" * 48, 2).to_bytes(60, "big")
"""Code of runs of no white and two black pixels."""


def refuse_cut_fax(path: Path, pages: Iterable[Any]) -> None:
    """Refuse pages of fax code that end before their last row; pages of other compressions are not looked at.

    Raises:
        DataError: A strip or tile ends early.
    """
    for page in pages:
        if page is None:
            continue
        if int(page.keyframe.compression) not in FAX:
            return  # a series is stored in one way, and each further page costs a look at its tags
        stream = page.parent.filehandle
        for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
            stream.seek(offset)
            data = stream.read(count) if count else b""
            if data and _is_cut(page.keyframe, data, index):
                message = f"`{path}` is truncated: strip {index} of its fax code ends before its last row"
                raise DataError(message, hint="copy the file again")


def _is_cut(page: Any, data: bytes, index: int) -> bool:
    found = page.decode(data, index)[0].tobytes()
    for more in (REPEATED, BLACK):
        added = imagecodecs.bitorder_decode(more) if page.fillorder == REVERSED else more
        try:
            if page.decode(data + added, index)[0].tobytes() != found:
                return True
        except imagecodecs.CcittError:  # `imagecodecs` has no other for what was added alone
            return True
    return False
