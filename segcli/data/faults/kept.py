"""Descriptions of all images that a check compares: numbers in memory, looks and edges in temporary files."""

import math
from array import array
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import overload

import numpy as np

from segcli.core.spilled import Spilled
from segcli.core.types import Array
from segcli.data.faults.alignment import Fit
from segcli.data.faults.brightness import Brightness
from segcli.data.faults.likeness import GRIDS
from segcli.data.faults.registered import SIDE
from segcli.data.faults.seen import Seen
from segcli.data.faults.tiles import KeptEdges
from segcli.data.faults.volume_alignment import NUMBERS, VolumeFit
from segcli.data.samples import Case

__all__ = ["Images"]

DIGEST = 6
"""Numbers of a digest: up to four of the size, and two checksums."""
FEW_LOOKS = 1024
"""Looks that are kept in memory while they are compared: 2 MiB."""
MOST_GREYS = 2048
"""Grey pictures that are kept; of more images, those that are looked at once more are few."""
UNKNOWN = (math.nan,) * 8
"""Numbers in place of those of a fit, for an image without one."""
_of_fit = attrgetter("best", "here", "scale", "share", "contrast", "skew")


class Images:
    """Keeps the descriptions of the images of all splits, in the order in which they are added."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.splits: list[str] = []
        self.edges = KeptEdges()
        self._fits, self._brightness = array("d"), array("d")
        self._volumes, self._volume_fits = array("I"), array("d")
        self._digests = array("I")
        self._look_rows = array("i")
        self._look_axes = array("b")
        self._greys, self._grey_of = Spilled((SIDE, SIDE), np.float16), dict[int, int]()
        self._looks = {ndim: Spilled(grid, np.int8) for ndim, grid in GRIDS.items()}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.cases)

    def add(self, split: str, case: Case, image: Seen) -> None:
        """Keep the description of an image.

        Raises:
            DataError: The disk is full.
        """
        self.cases.append(case)
        self.splits.append(split)
        self._fits.extend(UNKNOWN if image.fit is None else (*image.fit.shift, *_of_fit(image.fit)))
        if image.volume_fit is not None:
            self._volumes.append(len(self.cases) - 1)
            self._volume_fits.extend(image.volume_fit.numbers())
        if image.grey is not None and len(self._greys) < MOST_GREYS:
            self._grey_of[len(self.cases) - 1] = len(self._greys)
            self._greys.add(image.grey)
        about = image.brightness
        bright = (0.0, False) if about.bright is None else (about.bright, True)
        self._brightness.extend((about.at_top, about.low, about.high, *bright, about.extreme))
        self.edges.add(image.edges)
        *size, pixels, look = image.digest
        self._digests.extend((*size, *(0,) * (DIGEST - 2 - len(size)), pixels, look))
        ndim = 0 if image.look is None else image.look.ndim
        self._look_axes.append(ndim)
        self._look_rows.append(len(self._looks[ndim]) if image.look is not None else -1)
        if image.look is not None:
            self._looks[ndim].add(image.look)

    @property
    def fits(self) -> list[Fit | None]:
        """List how the mask of each image lies on it."""
        rows = (self._fits[start : start + len(UNKNOWN)] for start in range(0, len(self._fits), len(UNKNOWN)))
        return [None if math.isnan(down) else Fit((int(down), int(right)), *rest) for down, right, *rest in rows]

    @property
    def volume_fits(self) -> list[VolumeFit | None]:
        """List how the mask of each volume lies in it."""
        found: list[VolumeFit | None] = [None] * len(self.cases)
        for row, i in enumerate(self._volumes):
            found[i] = VolumeFit.of_numbers(self._volume_fits[row * NUMBERS : (row + 1) * NUMBERS])
        return found

    @property
    def brightness(self) -> list[Brightness]:
        """List the brightness of each image."""
        rows = (self._brightness[start : start + 6] for start in range(0, len(self._brightness), 6))
        return [
            Brightness(at_top, low, high, bright if known else None, extreme=bool(extreme))
            for at_top, low, high, bright, known, extreme in rows
        ]

    def name(self, i: int) -> str:
        """Name an image and its split for messages."""
        return f"`{self.cases[i].place}` ({self.splits[i]})"

    def positions(self) -> dict[str, Sequence[int]]:
        """List the positions of the images of each split."""
        found: dict[str, array[int]] = {}
        for i, split in enumerate(self.splits):
            found.setdefault(split, array("i")).append(i)
        return {**found}

    def first_alike(self) -> Array:
        """Return the position of the first image with the pixels of each image, `(N)`."""
        digests = np.frombuffer(self._digests, np.dtype(self._digests.typecode)).reshape(-1, DIGEST)
        order = np.lexsort(digests.T)  # stable: the first of equal ones stays the first
        is_new = np.ones(len(digests), bool)
        is_new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
        first = np.empty(len(digests), np.intp)
        first[order] = order[is_new][np.cumsum(is_new) - 1]
        return first

    def look(self, i: int) -> Array | None:
        """Read the look of an image; None without details."""
        row = self._look_rows[i]
        if row < 0:
            return None
        look: Array = self._looks[self._look_axes[i]].part(row, row + 1)[0]
        return look

    def grey(self, i: int) -> Array | None:
        """Read the grey picture of an image; None for one that is not kept."""
        row = self._grey_of.get(i)
        return None if row is None else self._greys.part(row, row + 1)[0].astype(np.float32)

    def looks(self, positions: Sequence[int], ndim: int) -> Sequence[Array | None]:
        """Return the looks of some images; None for those of another number of axes. Few are read at once."""
        looks = Looks(self, array("i", (i if self._look_axes[i] == ndim else -1 for i in positions)))
        return looks if len(looks) > FEW_LOOKS else list(looks)

    def has_look(self, i: int, ndim: int) -> bool:
        """Tell whether an image of this number of axes has a look."""
        return self._look_axes[i] == ndim

    def close(self) -> None:
        """Free memory and disk."""
        self.edges.close()
        self._greys.close()
        for each in self._looks.values():
            each.close()


class Looks(Sequence[Array | None]):
    """Looks of some images, each of which is read when it is asked for."""

    def __init__(self, images: Images, positions: "array[int]") -> None:
        self._images, self._positions = images, positions

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._positions)

    @overload
    def __getitem__(self, at: int) -> Array | None: ...

    @overload
    def __getitem__(self, at: slice) -> "Looks": ...

    def __getitem__(self, at: int | slice) -> "Array | Looks | None":
        """Read a look, or choose some."""
        if isinstance(at, slice):
            return Looks(self._images, self._positions[at])
        position = self._positions[at]
        return None if position < 0 else self._images.look(position)

    def __iter__(self) -> Iterator[Array | None]:
        """Read the looks one after another."""
        return (self[at] for at in range(len(self)))
