"""Volumes stored as grey TIFF slices (a folder of files, or one file of many pages) or in any other volume format.

Headers are read once. Slices are read when they are needed; those of the most recent volumes are cached.
"""

import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.channels import chosen_count
from segcli.data.checks import Finding
from segcli.data.classes.coding import Codings, blurred, is_blurred, white_is_zero
from segcli.data.slice_names import copied_from, in_order, name_of
from segcli.files import Window, format_of, is_picture_folder, open_picture, read_header
from segcli.files.tiff import TIFF

__all__ = ["Plane", "SliceStacks", "Stack", "scale_between", "stacked"]

ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
"""Zeros before a number."""


@dataclass(frozen=True)
class Plane:
    """Locates one slice: file and page."""

    file: Path
    page: int


@dataclass(frozen=True)
class Stack:
    """Describes the slices of one volume, as read from their headers."""

    planes: tuple[Plane, ...]
    sizes: tuple[tuple[int, int], ...]
    faults: tuple[DataError, ...] = ()
    bits: tuple[int, ...] = ()
    """Bits of the values of each slice, 8 to 16; empty for a volume that is no TIFF."""

    @property
    def counts(self) -> dict[Path, int]:
        """Count the slices of each file, in order."""
        return dict(Counter(plane.file for plane in self.planes))

    @cached_property
    def mixed(self) -> DataError | None:
        """Make the error for slices of different bits, such as 8 and 16; None if all are alike."""
        if len(set(self.bits)) < 2:
            return None
        odd = next(number for number, bits in enumerate(self.bits) if bits != self.bits[0])
        return DataError(
            f"slice `{self.planes[odd].file}` has {self.bits[odd]} bits, but `{self.planes[0].file}` has "
            f"{self.bits[0]}: their scales differ by {scale_between(self.bits[0], self.bits[odd])}",
            hint="export all slices with the same number of bits",
        )

    @property
    def size(self) -> tuple[int, int, int]:
        """Return the number of slices, rows and columns."""
        return len(self.planes), *(self.sizes[0] if self.sizes else (0, 0))


def scale_between(bits: int, other: int) -> int:
    """Return the ratio of the largest numbers of these bits.

    Example:
        >>> scale_between(8, 16), scale_between(16, 12)
        (257, 16)
    """
    return round(((1 << max(bits, other)) - 1) / ((1 << min(bits, other)) - 1))


def stacked(files: list[Path], read: Callable[[Path], Array], *, one_type: bool) -> Array:
    """Stack the pictures of a folder along a third axis.

    Args:
        files: At least one.
        read: Reads a picture.
        one_type: Refuse pictures of different bits.

    Raises:
        DataError: A picture cannot be read, or pictures differ.
    """
    planes: list[Array] = []
    for file in files:
        planes.append(read(file))
        kinds = [
            ("x".join(map(str, plane.shape)), plane.dtype if one_type else "") for plane in (planes[-1], planes[0])
        ]
        if kinds[0] != kinds[1]:
            odd, first = (" of ".join(str(part) for part in kind if str(part)) for kind in kinds)
            raise DataError(
                f"slice `{file}` is {odd}, but `{files[0]}` is {first}", hint="export all slices at one size and type"
            )
    return np.stack(planes, axis=2)


class SliceStacks:
    """Reads volumes by their folder or file.

    Args:
        most: Number of volumes whose slices are cached.
        channels: Chosen channels; grey slices have only channel 0.

    Raises:
        DataError: A chosen channel does not exist.
    """

    def __init__(self, most: int, channels: list[int] | None = None) -> None:
        chosen_count(1, channels, "a grey slice")
        self.masks: dict[Path, None] = {}
        """Folders and files whose slices were read as masks."""
        self.codings = Codings("mask slice")
        self.blurred: dict[Plane, bool] = {}
        """Mask slices that were read; True for those with smoothed outlines."""
        self.recent = _Recent(most)
        self.known: dict[Path, Stack] = {}

    def of(self, folder: Path) -> Stack:
        """Describe the slices of a folder or file in natural order; headers are read once."""
        if folder not in self.known:
            self.known[folder] = _picture_stack(folder) if _is_one_picture(folder) else _looked_at(folder)
        return self.known[folder]

    def voxels(self, folder: Path, window: Window, *, labels: bool = False) -> Array:
        """Read the voxels `(*window)`; open only the slices of the window.

        Args:
            folder: Folder or file of the volume.
            window: The window.
            labels: Read the numbers of a mask as they are stored.

        Raises:
            DataError: A slice cannot be read, or slices differ in size.
        """
        if _is_one_picture(folder):
            return _picture_voxels(folder, window)
        stack = self.of(folder)
        numbers = range(window[0].start, window[0].stop)
        read = _read_labels if labels else _read
        planes = [self.recent.get(folder, number, partial(read, stack.planes[number])) for number in numbers]
        if labels:
            self.masks[folder] = None
            for number, plane in zip(numbers, planes, strict=True):
                place = stack.planes[number]
                self.codings.add(place.file, plane)
                if place not in self.blurred:
                    self.blurred[place] = is_blurred(plane)
        shapes = {plane.shape for plane in planes}
        if len(shapes) > 1:
            raise DataError(f"`{folder}` has slices of different size", hint="export all slices at one size")
        return np.stack([plane[window[1:]] for plane in planes])

    def findings(self) -> Iterator[Finding]:
        """Report mask slices that are smoothed or coded in different ways, and slices that declare 0 as white."""
        yield from self.codings.findings()
        yield from blurred(
            "mask slice", list(dict.fromkeys(place.file for place, is_so in self.blurred.items() if is_so))
        )
        for word, as_shown in (("slice", True), ("mask slice", False)):
            white: list[Path] = []
            for folder, stack in self.known.items():
                files = list(dict.fromkeys(plane.file for plane in stack.planes))
                if (folder in self.masks) is as_shown or _is_one_picture(folder) or not files:
                    continue
                if TIFF.declares_white_as_zero(files[0]):  # the slices of a folder are alike
                    white += [file for file in files if TIFF.declares_white_as_zero(file)]
            yield from white_is_zero(word, white, as_shown=as_shown)


class _Recent:
    """Caches the slices of the most recent volumes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.volumes: OrderedDict[Path, dict[int, Array]] = OrderedDict()
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"most": self.most}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = vars(_Recent(state["most"]))

    def get(self, volume: Path, number: int, read: Callable[[], Array]) -> Array:
        """Return a slice from the cache, or read it."""
        with self.lock:
            known = self.volumes.get(volume, {}).get(number)
            if known is not None:
                self.volumes.move_to_end(volume)
                return known
        plane = read()
        with self.lock:
            self.volumes.setdefault(volume, {})[number] = plane
            self.volumes.move_to_end(volume)
            while len(self.volumes) > self.most:
                self.volumes.popitem(last=False)
        return plane


def _looked_at(folder: Path) -> Stack:
    files = [folder]
    if folder.is_dir():
        inside = (path for path in folder.iterdir() if path.suffix.lower() in TIFF.listed and path.name[0] != ".")
        files = in_order(list(inside))
    planes: list[Plane] = []
    sizes: list[tuple[int, int]] = []
    bits: list[int] = []
    faults: list[DataError] = [*_same_names(files)]
    parts: dict[tuple[int, int, int], Path] = {}
    for file in files:
        try:
            found = TIFF.planes(file)
        except DataError as error:
            faults.append(error)
            continue
        planes += [Plane(file, page) for page in range(found.count)]
        sizes += [found.size] * found.count
        bits += [found.bits] * found.count
        for part in found.part or ():
            parts.setdefault(part, file)
    return Stack(tuple(planes), tuple(sizes), (*faults, *_mixed_parts(parts)), tuple(bits))


def _same_names(files: list[Path]) -> Iterator[DataError]:
    """Find slices that have the same name without its extension, or names that differ only in the zeros of a number."""
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(ZEROS.sub("", copied_from(file)), file)
        if other != file:
            what = "name" if name_of(other) == name_of(file) else "number"
            message = f"two slices in `{file.parent}` have the same {what}: `{other.name}` and `{file.name}`"
            yield DataError(message, hint="rename or remove one of them")


def _mixed_parts(parts: dict[tuple[int, int, int], Path]) -> Iterator[DataError]:
    """Find files that their OME metadata attribute to different channels, time points or images."""
    if len(parts) > 1:
        one, other = list(parts)[:2]
        words = ("image", "channel", "time point")
        at = next(axis for axis in range(3) if one[axis] != other[axis])
        yield DataError(
            f"`{parts[other]}` is of {words[at]} {other[at]}, but `{parts[one]}` is of {words[at]} {one[at]}",
            hint="keep the files of one channel and one time point in the folder",
        )


def _is_one_picture(path: Path) -> bool:
    """Tell whether a file or folder is one volume in a format other than TIFF."""
    if path.is_dir():
        return is_picture_folder(path, 3)
    kind = format_of(path, 3)
    return kind is not None and kind is not TIFF and not kind.holds_many


def _picture_stack(path: Path) -> Stack:
    try:
        header = read_header(path, 3)
        if header.channels != 1:
            raise DataError(f"`{path}` has {header.channels} channels, but a grey volume was expected")
    except DataError as error:
        return Stack((), (), (error,))
    count, *size = header.size
    return Stack(tuple(Plane(path, page) for page in range(count)), ((size[0], size[1]),) * count)


def _picture_voxels(path: Path, window: Window) -> Array:
    """Read a window in a number type that a network accepts."""
    with open_picture(path, 3) as picture:
        voxels = picture.read(window)[..., 0]
    return voxels if voxels.dtype in (np.uint8, np.uint16, np.int16) else voxels.astype(np.float32)


def _read(plane: Plane) -> Array:
    return TIFF.plane(plane.file, plane.page)


def _read_labels(plane: Plane) -> Array:
    return TIFF.plane(plane.file, plane.page, labels=True)
