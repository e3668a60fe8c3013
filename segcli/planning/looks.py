"""Look at a few files of a folder: are they images, or masks, and of which kind?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.images import Marks, read_image, read_marks
from segcli.files import read_header
from segcli.planning.once import once

__all__ = [
    "KINDS",
    "Kind",
    "Look",
    "Marked",
    "colours_of",
    "is_mask",
    "look_at",
    "marked",
    "named_image",
    "named_mask",
    "named_objects",
]

Kind = Literal["image", "binary", "soft", "index", "colours"]
"""`soft`: a mask of two values that JPEG or smoothing blurred. `index`: a number for each class or object. `colours`: a
colour for each class."""
KINDS: tuple[Kind, ...] = ("binary", "soft", "colours", "index", "image")
"""Kinds in the order in which masks are proposed: plain ones, then those of classes."""
LOOKED = 5
"""Files of a folder that are looked at."""
ROWS = 400_000
"""Pixels of a file that are counted, in whole rows; neighbours in a row are compared."""
FLAT = 0.85
"""Smallest share of equal neighbours in a mask; photographs have less than half."""
MANY = 256
"""More different colours are no classes."""
SOFT = 0.93
"""Smallest share of the pixels of a blurred binary mask that are nearly black or nearly white."""
IMAGE_WORDS = re.compile(
    r"(^|[^a-z])(im(g|age)?s?|raw|photos?|pictures?|pics?|inputs?|data|scans?|frames?|rgb|src)($|[^a-z]|tr)"
)
MASK_WORDS = re.compile(
    r"(^|[^a-z])(masks?|labels?|lbls?|seg(mentations?|s)?|gt|ground|truth|annot(ation)?s?|manual\d?|targets?|ho)($|[^a-z]|tr)"
)

OBJECT_WORDS = re.compile(r"object|instance|panoptic")


@dataclass(frozen=True)
class Marked:
    """Describes the numbers of one picture as a mask would store them."""

    kind: Kind
    values: tuple[int, ...] = ()
    """Different numbers of a mask that holds numbers."""
    top: int = 0
    """Largest number."""
    lossy: bool = False
    detail: float = 1.0
    """Share of neighbours in a row that differ."""


@dataclass(frozen=True)
class Look:
    """Describes the files of a folder by those that were looked at."""

    kind: Kind
    sure: bool
    """False if the files differ in kind."""
    channels: frozenset[int]
    """Channels of the files, without alpha."""
    copies: bool
    """True if the channels of every colour image are equal."""
    detail: float = 0.0
    """Mean share of neighbours in a row that differ; masks have little of it."""
    values: tuple[int, ...] = ()
    """Numbers of all masks that were looked at, in order."""
    lossy: bool = False

    @property
    def is_mask(self) -> bool:
        """Tell whether the files are masks."""
        return self.kind != "image"


def named_image(name: str) -> bool:
    """Tell whether a name says that images are meant.

    Example:
        >>> named_image("imagesTr"), named_image("label")
        (True, False)
    """
    return IMAGE_WORDS.search(name.lower()) is not None and not named_mask(name)


def named_mask(name: str) -> bool:
    """Tell whether a name says that masks are meant."""
    return MASK_WORDS.search(name.lower()) is not None


def named_objects(name: str) -> bool:
    """Tell whether a name says that masks number objects."""
    return OBJECT_WORDS.search(name.lower()) is not None


def look_at(files: Sequence[Path]) -> Look:
    """Look at some files of a folder.

    Raises:
        DataError: None of them can be read.
    """
    chosen = [files[index] for index in sorted({round(k * (len(files) - 1) / (LOOKED - 1)) for k in range(LOOKED)})]
    found: list[Marked] = []
    channels: set[int] = set()
    copies, error = True, None
    for path in chosen:
        try:
            channels.add(read_header(path, 2).channels)
            each, equal = marked(path)
        except DataError as wrong:
            error = error or wrong
            continue
        found.append(each)
        copies &= equal
    if not found:
        assert error is not None
        raise error
    kinds = {each.kind for each in found}
    values = tuple(sorted({value for each in found for value in each.values}))
    kind = _common(kinds, values)
    return Look(
        kind=kind,
        sure=len(kinds) == 1 or kinds <= {"binary", "index"},
        channels=frozenset(channels),
        copies=copies,
        detail=sum(each.detail for each in found) / len(found),
        values=values,
        lossy=any(each.lossy for each in found),
    )


def _common(kinds: set[Kind], values: tuple[int, ...]) -> Kind:
    """Return the kind that all files may have: an image is no mask, and a mask of two classes may be one of many."""
    if "image" in kinds:
        return "image"
    for kind in ("colours", "soft"):
        if kind in kinds:
            return kind
    return "index" if "index" in kinds or len(set(values) - {0}) > 1 else "binary"


def is_mask(path: Path) -> bool:
    """Tell whether a file is a mask.

    Raises:
        DataError: The file cannot be read.
    """
    return look_at([path]).is_mask


@once
def marked(path: Path) -> tuple[Marked, bool]:
    """Tell what a file would be as a mask, and whether its channels are equal.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        marks = read_marks(path)
    except DataError as error:
        pixels = read_image(path)  # of several colours, or of values between whole numbers
        if "is a colour image" not in error.message:
            return Marked("image"), bool((pixels == pixels[..., :1]).all())
        rows = _some_rows(pixels)
        detail = 1.0 - _flatness(rows)
        few = detail <= 1 - FLAT and len(colours_of(rows, MANY + 1)) <= MANY
        return Marked("colours" if few else "image", detail=detail), False
    return _of_marks(marks), True


def _of_marks(marks: Marks) -> Marked:
    rows, values = _some_rows(marks.spread), np.unique(marks.spread)
    top, detail, lossy = int(values[-1]), 1.0 - _flatness(rows), marks.loss is not None
    few = tuple(int(value) for value in values)
    if marks.values.dtype == bool:
        return Marked("binary", (0, 1), 1, detail=detail)
    two = len(values) <= 2 and (len(values) < 2 or values[0] == 0)
    if two and not (lossy and len(values) == 1 and top not in (0, 255)):
        return Marked("binary", few, top, lossy, detail)
    if top > 64 and _is_soft(rows, top, lossy=lossy) and _flatness(rows > top // 2) >= FLAT:
        return Marked("soft", few, top, lossy, detail)
    if lossy or detail > 1 - FLAT:
        return Marked("image", top=top, lossy=lossy, detail=detail)
    return Marked("index", few, top, lossy, detail)


def _is_soft(numbers: Array, top: int, *, lossy: bool) -> bool:
    """Tell whether nearly all of many numbers are near 0 or near the largest; of JPEG, a few numbers are enough."""
    margin = top // 8
    between = (numbers > margin) & (numbers < top - margin)
    return bool(1 - between.mean() >= SOFT) and (lossy or len(np.unique(numbers)) > 8)


def _some_rows(pixels: Array) -> Array:
    """Take rows that are spread over the picture."""
    step = max(pixels.shape[0] * pixels.shape[1] // ROWS, 1)
    return pixels[::step]


def _flatness(rows: Array) -> float:
    """Compute the share of pixels that equal their neighbour in the row."""
    same = rows[:, 1:] == rows[:, :-1]
    return float((same.all(-1) if same.ndim == 3 else same).mean()) if same.size else 1.0


def colours_of(pixels: Array, most: int | None = None) -> dict[tuple[int, int, int], int]:
    """Count the colours of pixels `(H, W, 3)`; with `most`, only the first so many count."""
    values = pixels[..., :3].astype(np.uint32)
    packed, counts = np.unique(values[..., 0] << 16 | values[..., 1] << 8 | values[..., 2], return_counts=True)
    pairs = zip(packed[:most].tolist(), counts[:most].tolist(), strict=True)
    return {(value >> 16, value >> 8 & 255, value & 255): count for value, count in pairs}
