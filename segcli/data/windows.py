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

__all__ = ["LARGE", "WindowedImage", "is_zarr", "open_large"]

LARGE = 2**26
"""Pixels from which on an image is read in parts and its mask written in tiles."""
KEPT = 2**27
"""Bytes of decoded tiles that are kept, because windows overlap."""
TIFF = {".tif", ".tiff", ".svs", ".ndpi", ".scn", ".btf"}
CHANNELS = 4
"""Axes of up to this many values may be colours."""


class WindowedImage(ABC):
    """A 2D image on the disk."""

    path: Path
    size: tuple[int, int]
    """Height and width."""
    channels: int

    @abstractmethod
    def read(self, window: tuple[slice, ...]) -> Array:
        """Pixels `(h, w, C)` of a window inside the image.

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
        return _Zarr(path)
    if path.suffix.lower() not in TIFF:
        return None
    try:
        file = tifffile.TiffFile(path)
    except (OSError, ValueError, tifffile.TiffFileError):
        return None
    try:
        image = _Tiff(path, file)
    except (ValueError, KeyError, IndexError, AttributeError):
        file.close()
        return None
    if image.size[0] * image.size[1] < LARGE or not image.fits:
        image.close()
        return None
    return image


class _Tiff(WindowedImage):
    """Decodes the tiles or strips that a window touches, each once while it is near."""

    def __init__(self, path: Path, file: tifffile.TiffFile) -> None:
        self.path, self.file = path, file
        series = self.file.series[0]
        self.page: Any = series.levels[0].keyframe
        page = self.page
        self.size = (page.imagelength, page.imagewidth)
        self.channels = page.samplesperpixel
        grey_or_rgb = {tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR}
        self.fits = (
            len(series.levels[0].pages) == 1
            and page.photometric in grey_or_rgb
            and (page.planarconfig == tifffile.PLANARCONFIG.CONTIG or self.channels == 1)
            and page.bitspersample in (8, 16, 32)
        )
        """Whether pixels can be taken as they are decoded."""
        self.part = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        self.across = -(-self.size[1] // self.part[1])
        self.kept: OrderedDict[int, Array] = OrderedDict()
        self.kept_bytes = 0

    def read(self, window: tuple[slice, ...]) -> Array:
        """Pixels of a window, put together from tiles."""
        rows, columns = window
        found = np.empty((rows.stop - rows.start, columns.stop - columns.start, self.channels), self.page.dtype)
        height, width = self.part
        for row in range(rows.start // height, -(-rows.stop // height)):
            for column in range(columns.start // width, -(-columns.stop // width)):
                tile = self._tile(row * self.across + column)
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
        return found[:, :, : {2: 1, 4: 3}.get(self.channels, self.channels)]

    def _tile(self, index: int) -> Array:
        tile = self.kept.pop(index, None)
        if tile is None:
            tile = self._decoded(index)
            self.kept_bytes += tile.nbytes
        self.kept[index] = tile
        while self.kept_bytes > KEPT and len(self.kept) > 1:
            self.kept_bytes -= self.kept.popitem(last=False)[1].nbytes
        return tile

    def _decoded(self, index: int) -> Array:
        try:
            offset, length = self.page.dataoffsets[index], self.page.databytecounts[index]
            stream = self.file.filehandle
            stream.seek(offset)
            data = stream.read(length) if length else None
            decoded, _, shape = self.page.decode(data, index, jpegtables=self.page.jpegtables)
        except Exception as error:  # of whatever kind the codec has
            detail = " ".join(str(error).split())[:120] or type(error).__name__
            raise DataError(f"cannot read image `{self.path}` ({detail})", hint="replace the file") from error
        if decoded is None:  # a tile that was never written
            return np.zeros((*self.part, self.channels), self.page.dtype)
        tile: Array = decoded.reshape(shape[-3:]) if decoded.shape != tuple(shape) else decoded[0]
        return tile.reshape(tile.shape[0], tile.shape[1], self.channels)

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


class _Zarr(WindowedImage):
    """A Zarr array, or the finest level of an OME-Zarr group."""

    def __init__(self, path: Path) -> None:
        zarr = optional("zarr", extra="slides", purpose=f"`{path}`")
        self.path = path
        try:
            node = zarr.open(str(path), mode="r")
            self.array, axes = _finest(node)
        except Exception as error:
            detail = " ".join(str(error).split())[:120]
            raise DataError(f"cannot read image `{path}` ({detail})", hint="replace it") from error
        shape = self.array.shape
        axes = axes or _guessed(shape)
        lengths = dict(zip(axes, shape, strict=True))
        more = {axis: length for axis, length in lengths.items() if axis not in "yxc" and length > 1}
        if more or "y" not in lengths or "x" not in lengths:
            raise DataError(
                f"`{path}` holds an array of shape {tuple(shape)}, one 2D image was expected",
                hint="split it into one array per image",
            )
        self.axes = axes
        self.size = (lengths["y"], lengths["x"])
        self.channels = lengths.get("c", 1)

    def read(self, window: tuple[slice, ...]) -> Array:
        """Pixels of a window."""
        chosen: dict[str, Any] = {"y": window[0], "x": window[1], "c": slice(None)}
        try:
            part = np.asarray(self.array[tuple(chosen.get(axis, 0) for axis in self.axes)])
        except Exception as error:  # of whatever kind the codec has
            detail = " ".join(str(error).split())[:120] or type(error).__name__
            raise DataError(f"cannot read image `{self.path}` ({detail})", hint="replace it") from error
        left = [axis for axis in self.axes if axis in chosen]
        if "c" not in left:
            part, left = part[..., None], [*left, "c"]
        pixels = part.transpose([left.index(axis) for axis in "yxc"])
        return np.ascontiguousarray(pixels[:, :, : {2: 1, 4: 3}.get(self.channels, self.channels)])

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


def _guessed(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return "yxc" if shape[2] <= CHANNELS else "cyx" if shape[0] <= CHANNELS else "zyx"
    return "tczyx"[-len(shape) :] if len(shape) != 2 else "yx"
