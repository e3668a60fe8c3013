"""Choice of one 2D picture in a TIFF file of several pages or series.

Thumbnails, transparency masks, pyramid levels, and the label and macro of a whole slide belong to the picture.
"""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import tifffile

from segcli.core.errors import DataError
from segcli.files._frames import chosen

__all__ = ["one_picture"]

FEW = 8
"""With at most this many columns, pages are taken for rows of pixels."""
SLIDES = {"svs", "scn", "ndpi", "bif", "avs", "philips", "qpi", "indica"}
"""Whole slides: their first series is the picture."""


class _OnePicture:
    """Shows one picture of a file as if it were the only one; everything else is that of the file."""

    def __init__(self, file: tifffile.TiffFile, series: Any, page: Any) -> None:
        self.file, self.series, self.pages = file, [series], [page]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def one_picture(path: Path, file: tifffile.TiffFile, page: int | None) -> tuple[tifffile.TiffFile, int]:
    """Choose a picture of a file: the file as if that picture were the only one, and the number of pictures.

    Args:
        path: The file.
        file: The open file.
        page: Number of the page, counted from 0; None takes the only one.

    Raises:
        DataError: There are several pages and none is stated, or the stated one does not exist.
    """
    pictures = _pictures(file)
    counts = [math.prod(_apart(series).values()) for series in pictures]
    if page is None and sum(counts) > 1 and len(pictures) == 1 and pictures[0].axes[-1] == "X":
        _refuse_columns(path, pictures[0].shape)
    number = chosen(path, sum(counts), page)
    for series, count in zip(pictures, counts, strict=True):
        if number < count:
            found = _OnePicture(file, *_of_series(series, number))
            return cast("tifffile.TiffFile", found), sum(counts)
        number -= count
    raise IndexError("the file holds no page")


def _refuse_columns(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse pages of so few columns that they are rows of an image whose channels come last.

    Raises:
        DataError: They are.
    """
    if len(shape) == 3 and shape[2] <= FEW < min(shape[:2]):
        raise DataError(
            f"`{path}` holds {shape[0]} pages of {shape[1]}x{shape[2]} pixels, but one 2D image was expected",
            hint=f"if it is one image of {shape[2]} channels, save it with `tifffile.imwrite(path, array, "
            "photometric='minisblack', planarconfig='contig')`; else choose a page with `page: 0`",
        )


def _pictures(file: tifffile.TiffFile) -> list[Any]:
    """List the series with a picture of their own."""
    series: list[Any] = list(file.series)
    if series[0].kind in SLIDES:
        return series[:1]
    full = [each for each in series if not (each.keyframe.is_reduced or each.keyframe.is_mask)]
    return [each for each in full if not each.keyframe.is_subifd] or full or series[:1]


def _apart(series: Any) -> dict[str, int]:
    """Return the axes along which a series has pictures, with their lengths; `C` is one unless pixels have samples."""
    within = "YXS" if "S" in series.axes else "YXC"
    return {axis: length for axis, length in zip(series.axes, series.shape, strict=True) if axis not in within}


def _of_series(series: Any, number: int) -> tuple[Any, Any]:
    """Choose a picture of a series: as a series of its own, and its first page."""
    apart = _apart(series)
    if math.prod(apart.values()) == 1:
        return series, series.keyframe
    leading = {axis: length for axis, length in zip(series.axes, series.shape, strict=True) if axis not in "YXS"}
    order = np.arange(math.prod(leading.values())).reshape(tuple(leading.values()))
    if "C" in leading and "C" not in apart:
        order = np.moveaxis(order, list(leading).index("C"), -1)
    wanted = order.reshape(math.prod(apart.values()), -1)[number]
    try:
        pages = [_page(series, int(index)) for index in wanted]
    except IndexError:
        pages = []
    if len(series) != order.size or not pages:
        return _cut(series, apart, number), series.keyframe
    first = pages[0]
    several = ((len(pages), *first.shape), first.dtype, f"C{first.axes}") if len(pages) > 1 else ()
    return tifffile.TiffPageSeries(pages, *several), first


def _page(series: Any, index: int) -> Any:
    """Read a page with its own tags."""
    page = series[index]
    return page if page.is_virtual else page.aspage()


def _cut(series: Any, apart: dict[str, int], number: int) -> Any:
    """Make a series of one picture whose pages cannot be read alone, such as a stack of ImageJ with a single header."""
    kept = "".join(axis for axis in series.axes if axis not in apart)
    sizes = dict(zip(series.axes, series.shape, strict=True))

    def asarray() -> Any:
        place = np.unravel_index(number, tuple(apart.values()))
        at = dict(zip(apart, place, strict=True))
        return series.asarray()[tuple(at.get(axis, slice(None)) for axis in series.axes)].copy()

    return SimpleNamespace(
        axes=kept,
        shape=tuple(sizes[axis] for axis in kept),
        dtype=series.dtype,
        levels=[],
        keyframe=series.keyframe,
        asarray=asarray,
    )
