"""TIFF images, slides and stacks, read by tifffile, which supports the formats of microscopes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from segcli.core.errors import DataError
from segcli.core.registry import FILES
from segcli.core.types import Array
from segcli.files import HINT, Add, FileFormat, Picture, Window, reading
from segcli.files._colours import TiffColours
from segcli.files._losses import loss_of_page, refuse_changed
from segcli.files._mapped import Mapped, map_file
from segcli.files._orientation import as_shown, of_page, shown_size, upright
from segcli.files._tiff_choice import one_picture
from segcli.files._tiff_fax import refuse_cut_fax
from segcli.files._tiff_open import directories, is_tiff, open_tiff
from segcli.files._tiff_pages import TiffPages, TiffPlanes
from segcli.files._tiff_plain import PlainPages
from segcli.files._tiff_slices import named_axes, own_place, slices_of
from segcli.files._tiff_spacing import spacing_of
from segcli.files._tiff_sparse import share_left_out, unpacked_at_once
from segcli.files._tiles import tiled_tiff

__all__ = ["TIFF"]

WHOLE = "export it with 8 or 16 bits without a sign (uint8 or uint16)"
GREY = "export one channel as a grey slice or stack"
TAKEN = "write it again with `tifffile.imwrite(NAME, slices, photometric='minisblack')`"
"""Hint for the 3 or 4 slices of a stack, which tifffile writes as colours unless told otherwise."""
ONE_FILE = "write the slices, in their order, as pages of one file: `tifffile.imwrite(NAME, numpy.stack(slices))`"
NO_SLICES = "a 2D image needs a 2D model; in ImageJ, `Image > Properties` turns channels into slices"
SLICE_HINT = "replace the file, or remove the sample"


class TIFF(FileFormat):
    """Reads and writes images of one page, whole slides, and volumes with one page per plane."""

    endings = (".tif", ".tiff", ".svs", ".ndpi", ".scn", ".btf")
    listed = (".tif", ".tiff")
    axes = (2, 3)
    may_leave_out = True

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the tags of the pages. A 2D file with the content of another format is opened as that."""
        if ndim == 2 and not is_tiff(path):
            other: Picture = FILES.load("png").open(path, ndim, index)
            return other
        file = open_tiff(path)
        try:
            if ndim == 2:
                one, count = one_picture(path, file, index)
                image = upright(_Image(path, one), of_page(one.pages[0]))
                image.page_count = count
                return image
            stack = _Stack(path, file)
            return upright(stack, of_page(stack.series.keyframe))
        except BaseException:
            file.close()
            raise

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Picture | None = None, channels: int = 0
    ) -> Iterator[Add]:
        """Write compressed tiles as rows or planes arrive; a stack keeps the spacing of `like`."""
        about = None if len(size) == 2 else _tags(None if like is None else like.spacing)
        with tiled_tiff(path, (*size, channels) if channels else size, dtype, stack=about) as writer:
            yield writer.add

    # ---- stacks that are read plane by plane

    @staticmethod
    def is_stack(path: Path) -> bool:
        """Tell whether a file holds several planes.

        Raises:
            DataError: The file cannot be read, or its pages do not belong together.
        """
        with reading(path), open_tiff(path) as tiff:
            series = slices_of(path, tiff)
            sizes = zip(series.axes, series.shape, strict=True)
        return any(letter not in "YXCS" and length > 1 for letter, length in sizes)

    @staticmethod
    def planes(path: Path) -> "Slices":
        """Count the grey planes of a file, and read their rows and columns.

        Raises:
            DataError: The file is not a TIFF of grey slices.
        """
        with reading(path, "slice", hint=SLICE_HINT), open_tiff(path) as tiff:
            series = slices_of(path, tiff)
            axes, shape = named_axes(path, series)
            if "S" in axes or "C" in axes:
                count = dict(zip(axes, shape, strict=True))["S" if "S" in axes else "C"]
                hint = f"{GREY}; if the channels are slices, {TAKEN}" if axes == "SYX" else GREY
                raise DataError(f"`{path}` has {count} channels, but grey slices are expected", hint=hint)
            bits = TiffColours(path, series.keyframe, 1).bits
            kind = series.dtype
            if kind is None or kind.kind not in "ub" or kind.itemsize > 2:
                raise DataError(f"`{path}` holds {kind} values, but a slice holds whole numbers from 0", hint=WHOLE)
            part = own_place(path, tiff)
            rows, columns = shown_size(shape[-2:], of_page(series.keyframe))
        count, places = shape[0] if len(shape) == 3 else 1, None if part is None else part.places
        return Slices(count, (rows, columns), max(bits, 8), places)  # fewer than 8 are spread to 8

    @staticmethod
    def declares_white_as_zero(path: Path) -> bool:
        """Tell whether a file of grey planes declares that 0 is white.

        Raises:
            DataError: The file cannot be read.
        """
        with reading(path, "slice", hint=SLICE_HINT), open_tiff(path) as tiff:
            return TiffColours(path, slices_of(path, tiff).keyframe, 1).white_is_zero

    @staticmethod
    def plane(path: Path, page: int, *, labels: bool = False) -> Array:
        """Read one grey plane, upright, as a viewer shows it.

        Args:
            path: The file.
            page: Number of the plane.
            labels: Read the numbers that the writer stored instead, of a mask.

        Raises:
            DataError: The plane cannot be decoded.
        """
        with reading(path, "slice", hint=SLICE_HINT):
            known = PLAIN.read((path, page, labels))
            if known is not None:
                return known
            with open_tiff(path) as tiff:
                stored, described = _stored_plane(path, tiff, page)
                if labels:
                    refuse_changed(path, stored, loss_of_page(described))
                pixels = stored if labels else _as_shown(path, stored, described)
                PLAIN.remember((path, page, labels), described, pixels)
                return pixels


PLAIN = PlainPages()


def _as_shown(path: Path, stored: Array, described: tifffile.TiffPage) -> Array:
    """Turn the stored numbers of a grey plane into what a viewer shows."""
    colours = TiffColours(path, described, 1)
    if colours.channels != 1:
        raise DataError(f"`{path}` has a colour palette, but a grey slice was expected", hint="export grey slices")
    return colours.pixels(stored[..., None])[..., 0]


@dataclass(frozen=True)
class Slices:
    """Describes the grey slices of a file."""

    count: int
    size: tuple[int, int]
    """Rows and columns."""
    bits: int
    part: frozenset[tuple[int, int, int]] | None = None
    """Image, channel and time point, if the file is a part of an OME recording."""


@lru_cache(maxsize=16)
def _pages_of(path: Path, _changed: int) -> tuple[tuple[int, ...], int]:
    """Find the position of the page of each plane, and the orientation that the first page states.

    No positions if planes and pages are not the same.
    """
    with open_tiff(path) as tiff:
        series = slices_of(path, tiff)
        axes, shape = named_axes(path, series)
        offsets = tuple(page.offset for page in series.pages if page is not None)
    orientation = of_page(series.keyframe)
    return (offsets if (len(offsets), axes[1:]) == (shape[0], "YX") else ()), orientation


def _stored_plane(path: Path, tiff: tifffile.TiffFile, number: int) -> tuple[Array, tifffile.TiffPage]:
    """Read a grey plane upright, with the numbers that are stored, and the page that describes it."""
    pages: tuple[int, ...] = ()
    if len(directories(path).offsets) > 1:
        pages, orientation = _pages_of(path, path.stat().st_mtime_ns)
    if pages:
        tiff.filehandle.seek(pages[number])
        page = tifffile.TiffPage(tiff, index=number)
        refuse_cut_fax(path, [page])
        return as_shown(page.asarray(), orientation), page
    series = slices_of(path, tiff)
    return as_shown(_plane_of_one_page(path, series, number), of_page(series.keyframe)), series.keyframe


def _plane_of_one_page(path: Path, series: tifffile.TiffPageSeries, number: int) -> Array:
    """Read a plane of a file with a single page; ImageJ writes large stacks like that."""
    axes, size = named_axes(path, series)
    if series.dataoffset is not None and series.dtype is not None and _is_plain(series, axes):
        dtype = series.dtype.newbyteorder(series.keyframe.parent.byteorder)
        plane: Array = map_file(path, dtype, size, series.dataoffset)()[number].astype(series.dtype)
        return plane
    refuse_cut_fax(path, series.pages)
    whole: Array = series.asarray().reshape(-1, *size[-2:])[number]
    return whole


# ---- images


class _Image(Picture):
    """Reads one 2D image; for a pyramid, its finest level."""

    def __init__(self, path: Path, file: tifffile.TiffFile) -> None:
        self.path, self.file = path, file
        height, width, self.stored_channels = _image_shape(file, path)
        self.colours = TiffColours(path, file.series[0].keyframe, self.stored_channels)
        self.size, self.channels = (height, width), self.colours.channels
        self.bilevel, self.white_is_zero = self.colours.bilevel, self.colours.white_is_zero
        self.has_alpha, self.top = self.colours.has_alpha, self.colours.top
        self.palette = self.colours.palette
        dtype = file.series[0].dtype
        self.itemsize = dtype.itemsize if dtype else 1
        self.at_once = unpacked_at_once(path, file.series[0])

    @property
    def loss(self) -> str | None:
        return self.colours.loss

    @cached_property
    def pages(self) -> TiffPages | None:
        """Return the decoder of windows; None if only the whole image can be decoded."""
        pages = _fitting(TiffPages, self.path, self.file)
        return pages if pages is not None and len(pages.pages) == 1 else None

    @property
    def is_large(self) -> bool:
        """Tell whether the image is large and windows can be decoded."""
        return self.has_many_pixels and self.pages is not None

    def part(self, window: Window) -> Array:
        return super().part(window) if self.pages is None else self.colours.pixels(self.pages.part(window))

    def whole(self) -> Array:
        return self.colours.pixels(self._samples())

    def numbers(self) -> Array:
        """Decode the numbers that the writer stored, such as the indices of a palette."""
        return self.colours.numbers(self._samples())

    def _samples(self) -> Array:
        """Decode all samples, `(H, W, stored channels)`."""
        series, channels = self.file.series[0], self.stored_channels
        refuse_cut_fax(self.path, (page for level in series.levels[:1] for page in level.pages))
        axes, pixels = series.axes, series.asarray()
        colour_axis = next((axes.index(letter) for letter in "SC" if letter in axes), None)
        if colour_axis is not None and channels > 1:
            pixels = np.moveaxis(pixels, colour_axis, -1)
        return pixels.reshape(*self.size, channels)

    def share_left_out(self) -> float:
        """Compute the share of tiles or strips that are not stored."""
        return share_left_out(self.file.series[0])

    def close(self) -> None:
        self.file.close()


def _image_shape(tiff: tifffile.TiffFile, path: Path) -> tuple[int, int, int]:
    """Read height, width and channels of the single image in a TIFF file."""
    series = tiff.series[0]
    axes, shape = series.axes, series.shape
    sizes = dict(zip(axes, shape, strict=True))
    height, width = sizes.pop("Y", 0), sizes.pop("X", 0)
    channels = sizes.pop("S", 0) or sizes.pop("C", 0) or 1
    pages = int(np.prod(list(sizes.values()))) if sizes else 1
    if pages > 1 or not height or not width:
        raise DataError(
            f"`{path}` holds a stack of shape {tuple(shape)}, but one 2D image was expected",
            hint="split the stack into one file per image",
        )
    return height, width, channels


def _fitting(
    kind: Callable[[Path, tifffile.TiffFile], TiffPages], path: Path, file: tifffile.TiffFile
) -> TiffPages | None:
    """Make the decoder of windows of a file, or None if it cannot decode them."""
    try:
        pages = kind(path, file)
    except (ValueError, KeyError, IndexError, AttributeError):
        return None
    return pages if pages.fits else None


# ---- stacks


class _Stack(Picture):
    """Reads planes of a volume, `(*S)`, with or without a channel axis."""

    def __init__(self, path: Path, file: tifffile.TiffFile) -> None:
        self.path, self.file = path, file
        self.series = series = slices_of(path, file)
        axes, shape = named_axes(path, series)
        self.colour_axis = next((axes.index(letter) for letter in "CS" if letter in axes), None)
        planes = [letter for letter in axes if letter not in "YXCS"]
        if not planes and self.colour_axis is not None and len(shape) == 3:
            count = shape[self.colour_axis]
            hint = f"{NO_SLICES}; if they are slices, {TAKEN}" if axes == "SYX" else NO_SLICES
            raise DataError(f"`{path}` holds {count} channels of one plane, but no slices", hint=hint)
        if not planes and self.colour_axis is None:
            raise DataError(f"`{path}` holds one page, but a volume is a stack of several", hint=ONE_FILE)
        if len(planes) != 1 or len(shape) != (3 if self.colour_axis is None else 4):
            raise DataError(f"`{path}` of shape {shape} is not a stack of planes", hint=HINT)
        self.axes, self.shape = axes, shape
        self.stored_channels = 1 if self.colour_axis is None else shape[self.colour_axis]
        self.colours = TiffColours(path, series.keyframe, self.stored_channels)
        self.channels, self.white_is_zero = self.colours.channels, self.colours.white_is_zero
        self.size = tuple(length for axis, length in enumerate(shape) if axis != self.colour_axis)
        self.itemsize = series.dtype.itemsize if series.dtype else 1
        self.at_once = unpacked_at_once(path, series)
        self.spacing = spacing_of(file)

    @property
    def loss(self) -> str | None:
        return self.colours.loss

    @cached_property
    def parts(self) -> Callable[[Window], Array] | None:
        """Return the reader of windows; None if only the whole volume can be decoded."""
        series = self.series
        if series.dataoffset is not None and series.dtype is not None and _is_plain(series, self.axes):
            dtype = series.dtype.newbyteorder(self.file.byteorder)
            return Mapped(map_file(self.path, dtype, self.shape, series.dataoffset)).part
        axes, shape = self.axes, self.shape
        planes = _fitting(lambda path, file: TiffPlanes(path, file, series, axes, shape), self.path, self.file)
        wanted = (self.size, self.stored_channels)
        return None if planes is None or (planes.size, planes.channels) != wanted else planes.part

    @property
    def is_large(self) -> bool:
        """Tell whether the volume is large and windows can be read."""
        return self.has_many_pixels and self.parts is not None

    def part(self, window: Window) -> Array:
        return super().part(window) if self.parts is None else self.colours.pixels(self.parts(window))

    def whole(self) -> Array:
        return self.colours.pixels(self._samples())

    def numbers(self) -> Array:
        """Decode the numbers that the writer stored."""
        return self.colours.numbers(self._samples())

    def _samples(self) -> Array:
        refuse_cut_fax(self.path, self.series.pages)
        voxels: Array = self.series.asarray().reshape(self.shape)
        return voxels[..., None] if self.colour_axis is None else np.moveaxis(voxels, self.colour_axis, -1)

    def share_left_out(self) -> float:
        """Compute the share of tiles or strips that are not stored."""
        return share_left_out(self.series)

    def close(self) -> None:
        self.file.close()


def _is_plain(series: tifffile.TiffPageSeries, axes: str) -> bool:
    """Tell whether the voxels are stored uncompressed: grey planes, one after the other."""
    is_grey = len(axes) == 3 and axes.endswith("YX") and axes[0] not in "CS"
    return is_grey and all(page is not None and page.is_contiguous for page in series.pages)


def _tags(spacing: tuple[float, ...] | None) -> dict[str, Any]:
    """Make the TIFF metadata of a stack: its axes and, if known, the spacing in millimetres."""
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if spacing is None:
        return {"metadata": metadata}
    resolution = (1.0 / spacing[2], 1.0 / spacing[1])
    return {"metadata": {**metadata, "spacing": spacing[0], "unit": "mm"}, "resolution": resolution}
