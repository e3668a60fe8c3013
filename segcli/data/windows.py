"""Parts of images that need not fit in memory: TIFF (tiled, in strips, pyramidal, BigTIFF) and Zarr."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from segcli.core.errors import DataError
from segcli.core.optional import optional
from segcli.core.types import Array

__all__ = ["LARGE", "TiffPages", "WindowedImage", "ZarrArray", "is_zarr", "open_large"]

LARGE = 2**26
"""Pixels from which on an image is read in parts and its mask written in tiles."""
KEPT = 2**27
"""Bytes of decoded tiles that are kept, because windows overlap; of stacks and HDF5 files twice that."""
TIFF = {".tif", ".tiff", ".svs", ".ndpi", ".scn", ".btf"}
CHANNELS = 4
"""Axes of up to this many values may be colours."""


class WindowedImage(ABC):
    """A 2D image or a volume on the disk."""

    path: Path
    size: tuple[int, ...]
    """Height and width, or the size of a volume in the order of `read_volume`."""
    channels: int

    @abstractmethod
    def read(self, window: tuple[slice, ...]) -> Array:
        """Pixels `(*window, C)` of a window inside the image.

        Raises:
            DataError: They cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""


def is_zarr(path: Path) -> bool:
    """Whether the path is a Zarr array or group on the disk."""
    return path.is_dir() and any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))


def open_large(path: Path) -> WindowedImage | None:
    """The image, if it is a Zarr array or a TIFF of at least `LARGE` pixels; of a pyramid, its finest level.

    None for every other file: it is read as a whole, and told to be damaged where it is.

    Raises:
        ConfigError: The package for Zarr is not installed.
        DataError: The Zarr array is no 2D image.
    """
    if is_zarr(path):
        return ZarrArray(path)
    if path.suffix.lower() not in TIFF:
        return None
    try:
        file = tifffile.TiffFile(path)
    except (OSError, ValueError, tifffile.TiffFileError):
        return None
    try:
        image = TiffPages(path, file)
    except (ValueError, KeyError, IndexError, AttributeError):
        file.close()
        return None
    if image.size[0] * image.size[1] < LARGE or not image.fits or len(image.pages) > 1:
        image.close()
        return None
    return image


class TiffPages(WindowedImage):
    """Decodes the tiles or strips that a window touches, each once while it is near."""

    def __init__(self, path: Path, file: tifffile.TiffFile) -> None:
        self.path, self.file = path, file
        series = self.file.series[0]
        self.pages: list[Any] = list(series.levels[0].pages)
        self.page: Any = series.levels[0].keyframe
        page = self.page
        self.size = (page.imagelength, page.imagewidth)
        self.channels = self.samples = page.samplesperpixel
        grey_or_rgb = {tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR}
        self.fits = (
            page.photometric in grey_or_rgb
            and (page.planarconfig == tifffile.PLANARCONFIG.CONTIG or self.samples == 1)
            and page.bitspersample in (8, 16, 32)
            and page.imagedepth == page.tiledepth == 1
            and None not in self.pages
        )
        """Whether pixels can be taken as they are decoded."""
        self.part = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        self.across = -(-self.size[1] // self.part[1])
        self.per_page = self.across * -(-self.size[0] // self.part[0])
        self.kept: OrderedDict[int, Array] = OrderedDict()
        self.kept_bytes = 0

    def read(self, window: tuple[slice, ...]) -> Array:
        """Pixels of a window, put together from tiles."""
        return self.of_page(0, window)[:, :, : {2: 1, 4: 3}.get(self.channels, self.channels)]

    def of_page(self, number: int, window: tuple[slice, ...]) -> Array:
        """Pixels `(h, w, C)` of a window of one page."""
        rows, columns = window
        found = np.empty((rows.stop - rows.start, columns.stop - columns.start, self.samples), self.page.dtype)
        height, width = self.part
        for row in range(rows.start // height, -(-rows.stop // height)):
            for column in range(columns.start // width, -(-columns.stop // width)):
                tile = self._tile(number * self.per_page + row * self.across + column)
                top, left = row * height, column * width
                inner = (
                    slice(max(rows.start - top, 0), min(rows.stop - top, height)),
                    slice(max(columns.start - left, 0), min(columns.stop - left, width)),
                )
                place = (
                    slice(max(top - rows.start, 0), max(top - rows.start, 0) + inner[0].stop - inner[0].start),
                    slice(max(left - columns.start, 0), max(left - columns.start, 0) + inner[1].stop - inner[1].start),
                )
                found[place] = tile[inner]
        return found

    def _tile(self, index: int) -> Array:
        tile = self.kept.pop(index, None)
        if tile is None:
            tile = self._decoded(index)
            self.kept_bytes += tile.nbytes
        self.kept[index] = tile
        while self.kept_bytes > KEPT * len(self.size[1:]) and len(self.kept) > 1:
            self.kept_bytes -= self.kept.popitem(last=False)[1].nbytes
        return tile

    def _decoded(self, index: int) -> Array:
        number, index = divmod(index, self.per_page)
        try:
            page = self.pages[number]
            offset, length = page.dataoffsets[index], page.databytecounts[index]
            stream = self.file.filehandle
            stream.seek(offset)
            data = stream.read(length) if length else None
            decoded, _, shape = self.page.decode(data, index, jpegtables=self.page.jpegtables)
        except Exception as error:  # of whatever kind the codec has
            detail = " ".join(str(error).split())[:120] or type(error).__name__
            raise DataError(f"cannot read image `{self.path}` ({detail})", hint="replace the file") from error
        if decoded is None:  # a tile that was never written
            return np.zeros((*self.part, self.samples), self.page.dtype)
        tile: Array = decoded.reshape(shape[-3:]) if decoded.shape != tuple(shape) else decoded[0]
        return tile.reshape(tile.shape[0], tile.shape[1], self.samples)

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


class ZarrArray(WindowedImage):
    """A Zarr array, or the finest level of an OME-Zarr group; an image of the axes `y` and `x`, or of `z` as well."""

    def __init__(self, path: Path, spatial: str = "yx") -> None:
        zarr = optional("zarr", extra="slides", purpose=f"`{path}`")
        self.path, self.spatial = path, spatial
        try:
            node = zarr.open(path, mode="r")  # as a string, `http::x` would be an address
            self.array, axes = _finest(node)
        except Exception as error:
            detail = " ".join(str(error).split())[:120]
            raise DataError(f"cannot read image `{path}` ({detail})", hint="replace it") from error
        shape = self.array.shape
        axes = axes or _guessed(shape, spatial)
        lengths = dict(zip(axes, shape, strict=True))
        more = {axis: length for axis, length in lengths.items() if axis not in f"{spatial}c" and length > 1}
        if more or not set(spatial) <= set(lengths):
            what = "one 2D image" if spatial == "yx" else "one volume"
            raise DataError(
                f"`{path}` holds an array of shape {tuple(shape)}, {what} was expected",
                hint="split it into one array per image",
            )
        self.axes = axes
        self.size = tuple(lengths[axis] for axis in spatial)
        self.channels = lengths.get("c", 1)

    def read(self, window: tuple[slice, ...]) -> Array:
        """Pixels of a window."""
        chosen: dict[str, Any] = {**dict(zip(self.spatial, window, strict=True)), "c": slice(None)}
        try:
            part = np.asarray(self.array[tuple(chosen.get(axis, 0) for axis in self.axes)])
        except Exception as error:  # of whatever kind the codec has
            detail = " ".join(str(error).split())[:120] or type(error).__name__
            raise DataError(f"cannot read image `{self.path}` ({detail})", hint="replace it") from error
        left = [axis for axis in self.axes if axis in chosen]
        if "c" not in left:
            part, left = part[..., None], [*left, "c"]
        pixels = part.transpose([left.index(axis) for axis in f"{self.spatial}c"])
        if self.spatial == "yx":  # an alpha channel is left out
            pixels = pixels[:, :, : {2: 1, 4: 3}.get(self.channels, self.channels)]
        return np.ascontiguousarray(pixels)

    def close(self) -> None:
        """Nothing is held."""


def _finest(node: Any) -> tuple[Any, str]:
    """Array of full resolution, with its axes where the group names them."""
    if hasattr(node, "shape"):
        return node, ""
    attributes = dict(node.attrs)
    scales = attributes.get("multiscales") or attributes.get("ome", {}).get("multiscales")
    if scales:
        axes = scales[0].get("axes", [])
        names = "".join(str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in axes)
        return node[scales[0]["datasets"][0]["path"]], names
    return node["0"], ""


def _guessed(shape: tuple[int, ...], spatial: str) -> str:
    if len(shape) == len(spatial):
        return spatial
    if len(shape) == len(spatial) + 1:
        return f"{spatial}c" if shape[-1] <= CHANNELS else f"c{spatial}" if shape[0] <= CHANNELS else "?" + spatial
    return "tczyx"[-len(shape) :]
