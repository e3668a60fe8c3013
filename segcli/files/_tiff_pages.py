"""Windows of TIFF images and stacks that may not fit in memory: tiled, in strips, pyramidal, BigTIFF."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from segcli import files
from segcli.core.types import Array
from segcli.files import Window

__all__ = ["TiffPages", "TiffPlanes"]


class TiffPages:
    """Decodes the tiles or strips that a window touches, and caches the most recent ones."""

    def __init__(self, path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries | None = None) -> None:
        self.path, self.file = path, file
        series = self.file.series[0] if series is None else series
        self.pages: list[Any] = list(series.levels[0].pages)
        self.page: Any = series.levels[0].keyframe
        page = self.page
        self.size: tuple[int, ...] = (page.imagelength, page.imagewidth)
        self.channels = self.samples = page.samplesperpixel
        self.fits = (
            page.photometric != tifffile.PHOTOMETRIC.MINISWHITE
            and (page.planarconfig == tifffile.PLANARCONFIG.CONTIG or self.samples == 1)
            and page.bitspersample in (8, 16, 32)
            and page.imagedepth == page.tiledepth == 1
            and None not in self.pages
            and all(_cut(each) == _cut(page) for each in self.pages)
        )
        """Tells whether windows can be decoded; `TiffColours` tells what the samples mean."""
        self.tile = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        self.across = -(-self.size[1] // self.tile[1])
        self.per_page = self.across * -(-self.size[0] // self.tile[0])
        self.kept: OrderedDict[int, Array] = OrderedDict()
        self.kept_bytes = 0

    def part(self, window: Window) -> Array:
        """Assemble the samples of a window from tiles, as decoded."""
        return self.of_page(0, window)

    def of_page(self, number: int, window: Window) -> Array:
        """Assemble the pixels `(h, w, C)` of a window of one page."""
        rows, columns = window
        found = np.empty((rows.stop - rows.start, columns.stop - columns.start, self.samples), self.page.dtype)
        height, width = self.tile
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
        while self.kept_bytes > files.KEPT * len(self.size[1:]) and len(self.kept) > 1:
            self.kept_bytes -= self.kept.popitem(last=False)[1].nbytes
        return tile

    def _decoded(self, index: int) -> Array:
        number, index = divmod(index, self.per_page)
        page = self.pages[number]
        offset, length = page.dataoffsets[index], page.databytecounts[index]
        stream = self.file.filehandle
        stream.seek(offset)
        data = stream.read(length) if length else None
        keyframe = page.keyframe  # pages that were written one by one may be compressed in different ways
        decoded, _, shape = keyframe.decode(data, index, jpegtables=page.jpegtables)
        if decoded is None:  # a tile that was never written
            return np.zeros((*self.tile, self.samples), self.page.dtype)
        tile: Array = decoded.reshape(shape[-3:]) if decoded.shape != tuple(shape) else decoded[0]
        return tile.reshape(tile.shape[0], tile.shape[1], self.samples)


class TiffPlanes(TiffPages):
    """Decodes pages of one size; each is a plane of a volume, or one channel of a plane."""

    def __init__(
        self, path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str, shape: tuple[int, ...]
    ) -> None:
        super().__init__(path, file, series)
        sizes = dict(zip(axes, shape, strict=True))
        leading = axes.replace("Y", "").replace("X", "").replace("S", "")
        planes = [letter for letter in leading if letter != "C"]
        self.fits = self.fits and len(planes) == 1 and axes.endswith(("YX", "YXS"))
        self.depth = sizes.get(planes[0], 1) if planes else 1
        self.apart = sizes.get("C", 1) if "C" in leading else 1
        """Number of channels that are stored on separate pages."""
        self.first_channels = leading.startswith("C")
        self.fits = self.fits and len(self.pages) == self.depth * self.apart and (self.apart == 1 or self.channels == 1)
        self.size = (self.depth, *self.size)
        self.channels *= self.apart

    def part(self, window: Window) -> Array:
        """Assemble the voxels of a window from tiles of pages."""
        planes, rest = window[0], window[1:]
        found = [
            [self.of_page(self._number(plane, channel), rest) for channel in range(self.apart)]
            for plane in range(planes.start, planes.stop)
        ]
        return np.stack([np.concatenate(channels, axis=-1) for channels in found])

    def _number(self, plane: int, channel: int) -> int:
        return channel * self.depth + plane if self.first_channels else plane * self.apart + channel


def _cut(page: Any) -> tuple[object, ...]:
    """Return how a page is cut into tiles or strips, and what its values are."""
    key = page.keyframe
    return key.shape, key.dtype, key.photometric, key.is_tiled, key.tilelength, key.tilewidth, key.rowsperstrip
