"""Zarr arrays and OME-Zarr groups (their finest level); needs the extra `slides`."""

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segcli.core.errors import DataError
from segcli.core.files import remove_leftovers, told_when_full, unfinished
from segcli.core.names import printable
from segcli.core.optional import optional
from segcli.core.types import Array
from segcli.files import Add, FileFormat, Picture, Window
from segcli.files._axes import as_channels_last, axes_of
from segcli.files._gathered import Gathered

__all__ = ["Zarr"]

DESCRIPTION = "zarr.json"
"""File that describes an array or group; those of version 2 are hidden."""
PLAIN = "give the folder of the array itself, or write an OME-Zarr group"
FEWEST, MANY = 1e-3, 10_000
"""An image of at least `MANY` chunks, of which a smaller share than `FEWEST` is stored, was not copied whole."""
CHUNK = 64
"""Largest length of a chunk along each axis."""


class Zarr(FileFormat):
    """Reads and writes folders of chunks: images with the axes `y` and `x`, volumes also with `z`."""

    endings = (".zarr",)
    axes = (2, 3)
    is_folder = True
    may_leave_out = True

    @classmethod
    def claims(cls, folder: Path) -> bool:
        """Tell whether a folder is a Zarr array or group."""
        return any((folder / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Open the array of full resolution."""
        return _ZarrArray(path, "zyx"[-ndim:])

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Picture | None = None, channels: int = 0
    ) -> Iterator[Add]:
        """Write chunks as planes arrive; keep the axes and the scale of an OME-Zarr group."""
        zarr = optional("zarr", extra="slides", purpose=f"`{path}`")
        temporary = unfinished(path)
        with told_when_full(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent)
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                scales = like.scales() if isinstance(like, _ZarrArray) else None
                place = {"name": "0"} if scales else {}
                store = zarr.open_group(temporary, mode="w").store if scales else temporary
                chunks = tuple(min(length, CHUNK) for length in size)
                array = zarr.create_array(store, shape=size, dtype=np.dtype(dtype), chunks=chunks, **place)

                def write(first: int, planes: Array) -> None:
                    array[first : first + len(planes)] = planes

                gathered = Gathered(write, chunks[0])
                yield gathered.add
                gathered.finish()
                if scales:
                    zarr.open_group(temporary, mode="r+").attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
                if path.exists():
                    shutil.rmtree(path)
                temporary.replace(path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)


class _ZarrArray(Picture):
    """Reads an array, or the finest level of a group."""

    hint = "replace the folder"

    def __init__(self, path: Path, spatial: str) -> None:
        zarr = optional("zarr", extra="slides", purpose=f"`{path}`")
        self.path, self.spatial = path, spatial
        self.node = zarr.open(path, mode="r")  # a Path, because zarr would take the string `http::x` for an address
        self.array, axes = _finest(self.node, path)
        shape = self.array.shape
        self.axes = axes or axes_of(shape, spatial)
        lengths = dict(zip(self.axes, shape, strict=True))
        more = {axis: length for axis, length in lengths.items() if axis not in f"{spatial}c" and length > 1}
        if more or not set(spatial) <= set(lengths):
            what = "one 2D image" if spatial == "yx" else "one volume"
            raise DataError(
                f"`{path}` holds an array of shape {tuple(shape)}, but {what} was expected",
                hint="split it into one array per image",
            )
        self.size = tuple(lengths[axis] for axis in spatial)
        self.channels = lengths.get("c", 1)
        self.itemsize, self.bilevel = np.dtype(self.array.dtype).itemsize, self.array.dtype == bool
        self.at_once = math.prod(self.array.chunks) * self.itemsize

    @property
    def is_large(self) -> bool:
        """Return True, because chunks allow reading in parts."""
        return True

    def share_left_out(self) -> float:
        """Compute the share of chunks that are not stored; they are read as the fill value."""
        return 1 - min(self._stored / self._chunks, 1.0)

    @cached_property
    def _stored(self) -> int:
        """Count the files of the array that do not describe it; zarr would look for each possible chunk."""
        stored = os.walk(self.path / self.array.path)
        return sum(not name.startswith(".") and name != DESCRIPTION for _, _, files in stored for name in files)

    @property
    def _chunks(self) -> int:
        """Return the number of chunks, or of files that hold several, if all are stored."""
        lengths = self.array.shards or self.array.chunks
        return math.prod(-(-size // length) for size, length in zip(self.array.shape, lengths, strict=True))

    def whole(self) -> Array:
        return self.part(self._everything)

    @property
    def _everything(self) -> Window:
        return tuple(slice(0, length) for length in self.size)

    def numbers(self) -> Array:
        return self._pixels(self._everything)  # a mask of zeros has no chunks

    def part(self, window: Window) -> Array:
        again = "copy the whole folder again, or remove it from the data set"
        if not self._stored:
            raise DataError(
                f"`{self.path}` has no chunks: every pixel would be read as the fill value {self.array.fill_value}",
                hint=again,
            )
        if self._chunks >= MANY and self._stored < FEWEST * self._chunks:
            sizes = "x".join(map(str, self.array.shape))
            raise DataError(
                f"`{self.path}` states {sizes} pixels, but stores only {self._stored:,} of its {self._chunks:,} chunks",
                hint=again,
            )
        return self._pixels(window)

    def _pixels(self, window: Window) -> Array:
        chosen: dict[str, Any] = {**dict(zip(self.spatial, window, strict=True)), "c": slice(None)}
        part = np.asarray(self.array[tuple(chosen.get(axis, 0) for axis in self.axes)])
        part = part.astype(part.dtype.newbyteorder("="), copy=False)
        pixels = as_channels_last(part, "".join(axis for axis in self.axes if axis in chosen), self.spatial)
        return np.ascontiguousarray(pixels)

    def scales(self) -> dict[str, Any] | None:
        """Describe the finest level like an OME-Zarr group, for the axes `zyx`; None for plain arrays."""
        scales = None if hasattr(self.node, "shape") else _multiscales(self.node)
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


def _multiscales(group: Any) -> Any:
    attributes = dict(group.attrs)
    return attributes.get("multiscales") or attributes.get("ome", {}).get("multiscales")


def _finest(node: Any, path: Path) -> tuple[Any, str]:
    """Return the array of full resolution, and its axes if the group names them.

    Raises:
        DataError: The group has no such array.
    """
    if hasattr(node, "shape"):
        return node, ""
    scales = _multiscales(node)
    if not scales:
        return _level(node, "0", path), ""
    try:
        axes, levels = scales[0].get("axes", []), [str(level["path"]) for level in scales[0]["datasets"]]
        names = "".join(str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in axes)
    except (AttributeError, TypeError, LookupError):
        raise DataError(f"`{path}` has `multiscales` that name no arrays", hint=PLAIN) from None
    # the first one by the standard, which writers have not always kept
    return max((_level(node, level, path) for level in levels[:1] + levels), key=lambda array: array.size), names


def _level(group: Any, name: str, path: Path) -> Any:
    inside = ", ".join(f"`{printable(each)}`" for each in list(group)[:5]) or "nothing"
    try:
        array = group[name]
    except (KeyError, ValueError):
        array = None
    if not hasattr(array, "shape"):
        message = f"`{path}` is a group without the array `{printable(name)}`; it holds {inside}"
        raise DataError(message, hint=PLAIN)
    return array
