"""Writing volumes plane by plane, so that they need not fit in memory: TIFF, Zarr, NIfTI and NumPy files."""

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from segcli.core.files import replacing, told_when_full
from segcli.core.optional import optional
from segcli.core.scratch import Scratch
from segcli.core.types import Array
from segcli.data.tiles import Add, tiled_tiff
from segcli.data.volumes import NIFTI, TIFF, Grid, grid_of, suffix_of, tiff_tags, volume_spacing
from segcli.data.windows import is_zarr

__all__ = ["CHUNK", "writing_volume"]

AT_ONCE = 2**26
"""Bytes that are written at once."""
CHUNK = 64
"""Voxels along each axis of a chunk of Zarr, or of a large volume in HDF5."""
VOXELS = np.eye(4)


@contextmanager
def writing_volume(
    path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Path | None, channels: int = 0
) -> Iterator[Add]:
    """A file that is there whole or not at all; its format follows from its name.

    Args:
        path: `.tif`, `.zarr`, and with channels too, `.nii`, `.nii.gz` or `.npy`, which has them first.
        size: Of the volume, in the order of `read_volume`; as many planes are to be added.
        dtype: Of the voxels.
        like: File whose geometry it has.
        channels: 0 for none.

    Raises:
        DataError: It cannot be written, or `like` cannot be read.
    """
    if suffix_of(path) in TIFF:
        spacing = None if like is None else volume_spacing(like)
        with tiled_tiff(path, size, dtype, stack=tiff_tags(spacing, 3)) as writer:
            yield writer.add
        return
    if path.suffix == ".zarr":
        with _zarr(path, size, dtype, like) as add:
            yield add
        return
    if suffix_of(path) in NIFTI:
        is_ours = like is not None and (suffix_of(like) in NIFTI or like.is_dir())
        grid = grid_of(like) if like is not None and is_ours else Grid(VOXELS, size, (1.0, 1.0, 1.0))
        with _nifti(path, grid, np.dtype(dtype), channels) as add:
            yield add
        return
    with _npy(path, size, np.dtype(dtype), channels) as add:
        yield add


class _Gathered:
    """Planes that wait until there are enough of them to be worth writing."""

    def __init__(self, write: Callable[[int, Array], None], count: int) -> None:
        self.write, self.count = write, max(count, 1)
        self.waiting: list[Array] = []
        self.done = 0

    def add(self, planes: Array) -> None:
        self.waiting.append(planes)
        if sum(map(len, self.waiting)) >= self.count:
            joined = np.concatenate(self.waiting)
            whole = len(joined) // self.count * self.count
            self.waiting = [joined[whole:]]
            for start in range(0, whole, self.count):
                self._put(joined[start : start + self.count])

    def finish(self) -> None:
        rest = np.concatenate(self.waiting) if self.waiting else np.zeros(0)
        self.waiting = []
        if len(rest):
            self._put(rest)

    def _put(self, planes: Array) -> None:
        self.write(self.done, planes)
        self.done += len(planes)


@contextmanager
def _nifti(path: Path, grid: Grid, dtype: np.dtype[Any], channels: int) -> Iterator[Add]:
    shape = grid.stored if channels == 0 else (*grid.stored, channels)
    header = grid.header(dtype, max(channels, 1))
    if channels:
        header.set_data_shape(shape)
    header["vox_offset"] = len(header.binaryblock) + 4
    # the first axis is the fastest in NIfTI: in the order of C it is the last
    with closing(Scratch(shape[::-1], dtype, path.parent)) as voxels:
        planes_bytes = int(np.prod(grid.stored[:2], dtype=np.int64)) * dtype.itemsize
        step = max(AT_ONCE // planes_bytes, 1)

        def write(first: int, planes: Array) -> None:
            window = grid.window((slice(first, first + len(planes)), *(slice(0, length) for length in grid.size[1:])))
            stored = grid.as_stored(planes)
            for start in range(window[2].start, window[2].stop, step):
                stop = min(start + step, window[2].stop)
                part = stored[:, :, start - window[2].start : stop - window[2].start]
                voxels.write((..., slice(start, stop), window[1], window[0]), part.T)

        bytes_of_plane = int(np.prod(grid.size[1:], dtype=np.int64)) * dtype.itemsize * max(channels, 1)
        gathered = _Gathered(write, AT_ONCE // bytes_of_plane)
        yield gathered.add
        gathered.finish()
        with replacing(path) as temporary, _compressing(temporary, packs=suffix_of(path) == ".nii.gz") as stream:
            stream.write(header.binaryblock + bytes(4))
            flat_rows = max(AT_ONCE // (int(np.prod(shape[::-1][1:], dtype=np.int64)) * dtype.itemsize), 1)
            for start in range(0, shape[::-1][0], flat_rows):
                stream.write(voxels.read((slice(start, start + flat_rows),)).tobytes())


@contextmanager
def _compressing(path: Path, *, packs: bool) -> Iterator[IO[bytes]]:
    if packs:
        with path.open("wb") as plain, gzip.GzipFile("", "wb", 1, plain, 0) as stream:  # no name and no time inside
            yield stream  # type: ignore[misc]
        return
    with path.open("wb") as stream:
        yield stream


@contextmanager
def _npy(path: Path, size: tuple[int, ...], dtype: np.dtype[Any], channels: int) -> Iterator[Add]:
    shape = (channels, *size) if channels else size
    with replacing(path) as temporary:
        np.lib.format.open_memmap(temporary, "w+", dtype, shape)
        done = 0

        def add(planes: Array) -> None:
            nonlocal done
            rows = slice(done, done + len(planes))
            mapped = np.lib.format.open_memmap(temporary, "r+")
            if channels:
                mapped[:, rows] = np.moveaxis(planes, -1, 0)
            else:
                mapped[rows] = planes
            done = rows.stop

        yield add


@contextmanager
def _zarr(path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, like: Path | None) -> Iterator[Add]:
    zarr = optional("zarr", extra="slides", purpose=f"`{path}`")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with told_when_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            scales = _scales_of(zarr, like)
            place = {"name": "0"} if scales else {}
            store = zarr.open_group(temporary, mode="w").store if scales else temporary
            chunks = tuple(min(length, CHUNK) for length in size)
            array = zarr.create_array(store, shape=size, dtype=np.dtype(dtype), chunks=chunks, **place)

            def write(first: int, planes: Array) -> None:
                array[first : first + len(planes)] = planes

            gathered = _Gathered(write, chunks[0])
            yield gathered.add
            gathered.finish()
            if scales:
                zarr.open_group(temporary, mode="r+").attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _scales_of(zarr: Any, like: Path | None) -> dict[str, Any] | None:
    """How an OME-Zarr group describes its finest level, for an array of the axes `zyx`; None for plain arrays."""
    node = zarr.open(like, mode="r") if like is not None and is_zarr(like) else None
    if node is None or hasattr(node, "shape"):
        return None
    attributes = dict(node.attrs)
    scales = attributes.get("multiscales") or attributes.get("ome", {}).get("multiscales")
    if not scales:
        return None
    named = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales[0].get("axes", [])]
    kept = [index for index, axis in enumerate(named) if str(axis["name"]).lower() in ("z", "y", "x")]
    changes = [
        {**change, change["type"]: [change[change["type"]][index] for index in kept]}
        for change in scales[0]["datasets"][0].get("coordinateTransformations", [])
        if change.get("type") in ("scale", "translation") and isinstance(change.get(change["type"]), list)
    ]
    return {
        "axes": [named[index] for index in kept],
        "datasets": [{"path": "0", "coordinateTransformations": changes}],
    }
