"""Masks of which each class has a file of its own, joined to one map of numbers: 0 for background, then 1, 2, 3."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array, Mask
from segcli.data.checks import Finding
from segcli.data.classes.binary_masks import BinaryMasks

__all__ = ["ClassOverlap", "JoinedMasks", "OverlapError", "joined", "marked"]

ClassOverlap = Literal["error", "first", "last"]
SHOWN = 5
"""Values of a mask that are named."""
WAY_OUT = (
    "correct the files, set `class_overlap: first` or `last` if one of the classes lies above the other, or train them "
    "in separate runs"
)


class OverlapError(DataError):
    """Means that two files of a case mark the same pixels."""

    files: tuple[Path, ...] = ()
    count: int = 0
    """Pixels that both mark."""
    share: float = 0.0
    """Share of these among the pixels that the smaller of both marks."""


@dataclass(frozen=True)
class JoinedMasks:
    """Reads 2D masks of one file for each class.

    Args:
        each: Reads the file of one class.
        overlap: Class of pixels that several files mark.
    """

    each: BinaryMasks
    overlap: ClassOverlap = "error"

    def read(self, files: Sequence[Path | None]) -> dict[str, Array]:
        """Read `mask`, `(H, W)` uint8, from files of one size.

        Raises:
            DataError: A file is unreadable or holds more than two values, or files overlap.
        """
        masks = (None if path is None else (path, self.each.read(path)["mask"]) for path in files)
        return {"mask": joined(masks, len(files), self.overlap)}

    def examine(self, files: Sequence[Path | None]) -> tuple[dict[str, Array], list[Finding]]:
        """Read a mask, with findings instead of errors; a class may be empty, but not all of them."""
        masks: list[tuple[Path, Array] | None] = []
        findings: list[Finding] = []
        empty: list[Finding] = []
        for path in files:
            maps, found = ({}, []) if path is None else self.each.examine(path)
            masks.append((path, maps["mask"]) if path is not None and maps else None)
            findings += [finding for finding in found if finding.code != "empty_mask"]
            empty += [finding for finding in found if finding.code == "empty_mask"]
        there = [each for each in masks if each is not None]
        count = sum(path is not None for path in files)
        if len(there) < count or len({mask.shape for _, mask in there}) > 1:
            return {}, findings  # the layout compares the size of each file with that of the image
        findings += empty[:1] if len(empty) == count else []
        try:
            return {"mask": joined(masks, len(files), self.overlap)}, findings
        except OverlapError as error:
            path, *others = error.files
            hint = error.hint or ""
            return {}, [*findings, Finding("overlapping_classes", "error", path, error.message, hint, tuple(others))]


def joined(masks: Iterable[tuple[Path, Array] | None], count: int, overlap: ClassOverlap) -> Array:
    """Join the masks of the classes, each `(*S)`, to the number of the class of each pixel, from 1; 0 for background.

    Only one of the masks need be in memory.

    Args:
        masks: File and pixels of each class, all of one size; None for a class without a file, but not all of them.
        count: Number of classes.
        overlap: Class of pixels that several masks mark.

    Raises:
        OverlapError: Two of the masks mark a pixel, and `overlap` chooses none.
    """
    found: Array = np.zeros(0, np.uint8)
    paths: dict[int, Path] = {}
    for number, each in enumerate(masks, start=1):
        if each is None:
            continue
        paths[number], mask = each
        inside: Mask = mask > 0
        found = found if found.shape == inside.shape else np.zeros(inside.shape, np.uint8 if count < 256 else np.uint16)
        twice = inside & (found > 0) if overlap != "last" else np.zeros(0, bool)
        if overlap == "error" and twice.any():
            other = int(found[twice][0])
            raise _overlapping(paths[other], found == other, paths[number], inside)
        found[inside & ~twice if overlap == "first" else inside] = number
    return found


def _overlapping(first: Path, ours: Array, second: Path, others: Array) -> OverlapError:
    """Make the error for two masks that mark the same pixels, each given with its file."""
    count = int(np.count_nonzero((ours > 0) & (others > 0)))
    small = min(int(np.count_nonzero(ours)), int(np.count_nonzero(others)))
    share = count / small
    shares = f"{share:.2%} of the smaller of both, {count / ours.size:.2%} of the image"
    what = f"both mark {count:,} {'pixels' if ours.ndim == 2 else 'voxels'}"
    error = OverlapError(f"`{first}` and `{second}` {what} ({shares}), but each has one class", hint=WAY_OUT)
    error.files, error.count, error.share = (first, second), count, share
    return error


def marked(labels: Array, path: Path) -> Mask:
    """Return where the label map of a single class marks it.

    Raises:
        DataError: It holds more than 0 and one other value.
    """
    inside: Mask = labels != 0
    top = labels.max() if labels.size else 0
    if not (labels[inside] == top).all() or top < 0:
        values, counts = np.unique(labels, return_counts=True)
        pairs = zip(values[:SHOWN], counts, strict=False)
        shown = ", ".join(f"{value} ({count:,} voxels)" for value, count in pairs)
        more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
        raise DataError(
            f"label map `{path}` of one class holds {len(values)} values, 0 and one other are expected: {shown}{more}",
            hint="write 0 for background and 1 for the class; without `class_suffixes`, one file holds all classes",
        )
    return inside
