"""Slices of a TIFF stack: the pages that hold them, in order, or the reason why a file is no stack."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from segcli.core.errors import DataError
from segcli.files._ome import OwnPlanes, own_planes
from segcli.files._orientation import TAG, of_page
from segcli.files._tiff_open import Directories, directories, names_other_files

__all__ = ["named_axes", "own_place", "slices_of"]

PLAIN = ("shaped", "uniform", "generic")
"""Kinds of series without metadata of a microscope: their pages are slices. A uniform series is not trusted, because
tifffile looks at three of its pages only."""
VENDORS = ("svs", "scn", "qpi", "ndpi", "bif", "avs", "philips", "lsm")
"""Kinds of series whose further series are previews and labels."""
WORDS = {"Z": "slices", "T": "time points", "C": "channels", "S": "channels"}
"""Word for what lies along an axis."""
NAMED_CHANNEL = re.compile(r"<Channel\b[^>]*\s(Name|Color|Fluor|EmissionWavelength|ExcitationWavelength)=")
"""Start of a channel in OME metadata that says what it shows."""
MEANING: dict[str, Callable[[Any], Any]] = {
    "orientation": lambda page: of_page(page) if TAG in page.tags else None,
    "photometric interpretation": lambda page: getattr(page.photometric, "name", page.photometric),
}
"""Lists what the pages of a stack must agree in, beside size and type, if stated: some writers tag the first only."""
KEPT = 1024
"""Pages of a file whose tags are kept while it is open; those of more take tens of megabytes."""
HINT = "export one volume of one channel and one time point to a file"


def slices_of(path: Path, file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """Find the planes of a stack: every page, or those that the metadata of its microscope describe.

    Raises:
        DataError: Pages differ in size or type, planes are missing, or the file holds several volumes.
    """
    found = directories(path)
    if not found.is_complete:
        message = f"`{path}` ends within its page {len(found.offsets) + 1}, so further slices may be missing"
        raise DataError(message, hint="copy or export the file again")
    others = names_other_files(file)
    if others:
        file.is_ome = False
    file.pages.cache = len(found.offsets) <= KEPT  # what follows looks at every page up to four times
    series = _as_described(file)
    if series is None or (series[0].kind in PLAIN and not _is_whole(series, found, file)):
        series = [_of_pages(path, file, found)]
    main = series[0].levels[0]
    _refuse_unlike(path, [page for page in main.pages if page is not None])
    if len(series) > 1 and main.kind not in VENDORS:
        raise DataError(
            f"`{path}` holds {len(series)} volumes, but one is expected", hint="export each to its own file"
        )
    _refuse_gaps(path, main, series, found, file)
    if others:
        _refuse_mixed(path, own_place(path, file))
    file.pages.cache = False
    return main


def named_axes(path: Path, series: tifffile.TiffPageSeries) -> tuple[str, tuple[int, ...]]:
    """Return letters and lengths of the axes of a stack, without axes of length 1 that say nothing.

    The only axis beside rows, columns and channels is that of the slices, whatever its name: ImageJ often calls slices
    time points. Without such an axis, channels are slices if nothing says that they are colours: tifffile writes the
    planes of a stack as channels.

    Raises:
        DataError: There are several such axes, such as slices and time points.
    """
    pairs = list(zip(series.axes, map(int, series.shape), strict=True))
    if not all(length for _, length in pairs):
        raise DataError(f"`{path}` holds no pixels: its size is {'x'.join(str(length) for _, length in pairs)}")
    along = [(letter, length) for letter, length in pairs if letter not in "YXCS"]
    several = [(letter, length) for letter, length in along if length > 1]
    if len(several) > 1:
        shown = " of ".join(f"{length} {WORDS.get(letter, 'planes')}" for letter, length in several)
        raise DataError(f"`{path}` holds {shown}, but one volume is expected", hint=HINT)
    if not along and "S" not in series.axes and not _has_colours(series):
        pairs = [("I" if letter == "C" else letter, length) for letter, length in pairs]
        along = several = [pair for pair in pairs if pair[0] == "I"]
    slices = several or along[:1]
    kept = [pair for pair in pairs if pair[0] in "YX" or pair in slices[:1] or (pair[0] in "CS" and pair[1] > 1)]
    return "".join(letter for letter, _ in kept), tuple(length for _, length in kept)


def _has_colours(series: tifffile.TiffPageSeries) -> bool:
    """Tell whether ImageJ shows the channels in colours, or OME names them."""
    file = series.keyframe.parent
    mode = str((file.imagej_metadata or {}).get("mode", "")).lower()
    return mode in {"composite", "color"} or NAMED_CHANNEL.search(file.ome_metadata or "") is not None


def own_place(path: Path, file: tifffile.TiffFile) -> OwnPlanes | None:
    """Read which planes of a recording in several files are in this file; None for a recording in one file."""
    description = file.pages[0].description  # type: ignore[union-attr]  # the first page is always read whole
    return own_planes(description, path.name) if "<UUID" in description and "FileName=" in description else None


def _as_described(file: tifffile.TiffFile) -> list[tifffile.TiffPageSeries] | None:
    """Group the pages as tifffile does; None if it finds that pages do not belong together."""
    try:
        return file.series or None
    except RuntimeError:  # `is_uniform` looks at three pages only; another page differs
        return None


def _is_whole(series: list[tifffile.TiffPageSeries], found: Directories, file: tifffile.TiffFile) -> bool:
    """Tell whether tifffile's own metadata describe every page of a file as one stack."""
    return series[0].kind == "shaped" and len(series) == 1 and not _left_out(series, found, file)


def _left_out(series: list[tifffile.TiffPageSeries], found: Directories, file: tifffile.TiffFile) -> list[int]:
    """Find the pages that belong to no series, without smaller copies of other pages."""
    levels = [level for each in series for level in each.levels]
    covered = {page.offset for level in levels for page in level.pages if page is not None}
    left = [number for number, offset in enumerate(found.offsets) if offset not in covered]
    virtual = sum(max(len(level) - len(level.pages), 0) for level in levels)  # planes behind one page
    return [number for number in left[virtual:] if not file.pages[number].aspage().is_reduced]


def _of_pages(path: Path, file: tifffile.TiffFile, found: Directories) -> tifffile.TiffPageSeries:
    """Take every page as a slice, apart from smaller copies of other pages."""
    file.pages.useframes = False
    pages = [file.pages[number].aspage() for number in range(len(found.offsets))]
    pages = [page for page in pages if not page.is_reduced] or pages
    first = pages[0]
    _refuse_unlike(path, pages)
    if len(first.axes.strip("S")) != 2 or first.dtype is None:
        raise DataError(f"pages of `{path}` have the axes {first.axes}, but slices have rows and columns", hint=HINT)
    shape = (len(pages), *first.shape)
    return tifffile.TiffPageSeries(pages, shape, first.dtype, f"I{first.axes}", kind="pages")


def _refuse_unlike(path: Path, pages: Sequence[Any]) -> None:
    """Refuse pages of another size, type or meaning than the first; tifffile would decode them like the first."""
    first = pages[0].aspage()
    for page in (each.aspage() for each in pages):
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise DataError(
                f"page {page.index + 1} of `{path}` is {_shown(page)}, but page {first.index + 1} is {_shown(first)}",
                hint="all pages of a stack are slices of one size and type; remove the others",
            )
        for what, of in MEANING.items():
            ours, others = of(page), of(first) or "none"
            if ours is not None and ours != others:
                raise DataError(
                    f"page {page.index + 1} of `{path}` has the {what} {ours}, but page {first.index + 1} has {others}",
                    hint="export all pages of the stack alike, or each to a file of its own",
                )


def _shown(page: tifffile.TiffPage) -> str:
    return f"{'x'.join(map(str, page.shape))} of {page.dtype}"


def _refuse_gaps(
    path: Path,
    main: tifffile.TiffPageSeries,
    series: list[tifffile.TiffPageSeries],
    found: Directories,
    file: tifffile.TiffFile,
) -> None:
    """Refuse planes that are stated and missing, and pages that are there and not stated."""
    missing = sum(page is None for page in main.pages)
    if missing:
        raise DataError(
            f"{missing} of the {len(main.pages)} planes that `{path}` states are missing",
            hint="copy or export the file again",
        )
    stated, there = int(np.prod(main.shape)), len(main.pages) * int(np.prod(main.keyframe.shape))
    left = _left_out(series, found, file)
    if left or (len(main.pages) > 1 and stated != there):
        one = max(int(np.prod(main.keyframe.shape)), 1)
        raise DataError(
            f"`{path}` has {len(found.offsets)} pages, but its metadata describe {stated // one}",
            hint="export the stack again, with metadata of all pages",
        )


def _refuse_mixed(path: Path, planes: OwnPlanes | None) -> None:
    """Refuse a file of a recording in several files that holds pages of several channels or time points."""
    if planes is not None and len(planes.places) > 1:
        raise DataError(f"the pages of `{path}` are of {planes.shown()}", hint=HINT)
