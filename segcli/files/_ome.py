"""Planes of one file of an OME recording in several files, read from the metadata that name all files."""

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["OwnPlanes", "own_planes"]

PAIR = re.compile(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']")


@dataclass(frozen=True)
class OwnPlanes:
    """Says to which image, channel and time point the planes of a file belong."""

    places: frozenset[tuple[int, int, int]]
    """Image, channel and time point of each plane."""

    def shown(self) -> str:
        """Name the numbers of images, channels and time points."""
        counts = [len({place[axis] for place in self.places}) for axis in range(3)]
        words = ("images", "channels", "time points")
        return " and ".join(f"{count} {word}" for count, word in zip(counts, words, strict=True) if count > 1)


def own_planes(xml: str, name: str) -> OwnPlanes | None:
    """Find the planes that the metadata attribute to the file `name`; None if they do not name it.

    The metadata of a recording of many files are long, so only the entries of this file are looked at.
    """
    places: set[tuple[int, int, int]] = set()
    for mark in (f'FileName="{escape(name)}"', f"FileName='{escape(name)}'"):
        at = xml.find(mark)
        while at >= 0:
            places |= _places(xml, at)
            at = xml.find(mark, at + 1)
    return OwnPlanes(frozenset(places)) if places else None


def _places(xml: str, at: int) -> set[tuple[int, int, int]]:
    """Read the entry around a position."""
    start, pixels = xml.rfind("<TiffData", 0, at), xml.rfind("<Pixels", 0, at)
    if start < pixels or pixels < 0:
        return set()
    entry = dict(PAIR.findall(xml[start : xml.find(">", start)]))
    header = dict(PAIR.findall(xml[pixels : xml.find(">", pixels)]))
    order = [axis for axis in header.get("DimensionOrder", "XYZCT") if axis in "ZCT"]
    sizes = {axis: max(_number(header.get(f"Size{axis}")), 1) for axis in "ZCT"}
    count = max(_number(entry.get("PlaneCount"), 1), 1)
    first, width = 0, 1
    for axis in order:
        first += _number(entry.get(f"First{axis}")) * width
        width *= sizes[axis]
    image, found = xml.count("<Pixels", 0, pixels), set()
    for step in range(min(count, width)):
        rest, place = first + step, {}
        for axis in order:
            rest, place[axis] = divmod(rest, sizes[axis])
        found.add((image, place.get("C", 0), place.get("T", 0)))
    return found


def _number(text: str | None, default: int = 0) -> int:
    return int(text) if text is not None and text.isdecimal() else default
