"""Holds what the header of a file says about its image."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segcli.files._grid import Grid

__all__ = ["Header", "once"]


@dataclass(frozen=True, slots=True)
class Header:
    """Describes the image of a file without decoding it."""

    size: tuple[int, ...]
    """Height and width, or planes, rows and columns."""
    channels: int
    """Channels as stored, without a declared alpha channel."""
    itemsize: int
    """Bytes per value."""
    spacing: tuple[float, ...] | None = None
    """Millimetres between pixels along each axis; None if the file does not store them."""
    grid: "Grid | None" = field(default=None, compare=False)
    """Geometry in patient space; None if the file does not store it."""
    bilevel: bool = False
    """True for one bit per pixel."""
    white_is_zero: bool = False
    """True if the file declares that 0 is white and a larger number is black."""
    has_alpha: bool = False
    """True if the file declares an alpha channel, which is left out."""
    has_palette: bool = False
    """True for indices of a palette of colours."""
    orientation: int = 1
    """Orientation that the file states, in the numbers of EXIF; pixels and size are turned already."""
    page_count: int = 1
    """Pages or frames of a 2D file, one of which is read."""


@lru_cache(maxsize=256)
def once(header: Header) -> Header:
    """Return the first of equal headers, so that many files share one object."""
    return header
