"""Codings of masks, compared with each other: 0 and 1 in some files, 0 and 255 in others; white-is-zero; smoothing."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.types import Array
from segcli.data.checks import Finding

__all__ = ["FIELD_HINT", "Codings", "blurred", "files_named", "is_blurred", "named", "white_is_zero"]

TOPS = (1, 255, 65535)
MARGIN_HINT = (
    "look at them together and export all in one coding; if 255 marks a margin that does not count, state the classes "
    "with `ignore: [{name: void, number: 255}]`"
)
FIELD_HINT = "all are read alike; export them in one coding, so that no other program takes one for empty"
SMOOTH = 5
"""Values between background and foreground that tell smoothed outlines from further classes."""
FLAT = 0.4
"""Largest share of these values that are equal to their left neighbour."""
SHOWN = 5
"""Files of a list that are named."""


class Codings:
    """Collects the number with which each mask stores its foreground; several threads may add.

    Args:
        word: Word for such a file.
        hint: What to do about different codings.
    """

    def __init__(self, word: str = "mask", hint: str = MARGIN_HINT) -> None:
        self.word, self.hint = word, hint
        self.files: dict[int, dict[Path, None]] = {}
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"word": self.word, "hint": self.hint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = vars(Codings(**state))

    def add(self, path: Path, marks: Array) -> None:
        """Add a mask as stored; one bit per pixel has only one coding and is left out."""
        if marks.dtype == bool or not marks.size:
            return
        self.note(path, int(marks.max()))

    def note(self, path: Path, top: int) -> None:
        """Add a mask with this number of its foreground; one that no coding uses is left out."""
        if top not in TOPS:
            return
        with self.lock:
            self.files.setdefault(top, {})[path] = None

    def findings(self) -> Iterator[Finding]:
        """Report masks with different numbers of the foreground."""
        if len(self.files) < 2:
            return
        groups = sorted(((top, list(files)) for top, files in self.files.items()), key=lambda group: -len(group[1]))
        coded = " and ".join(f"{named(files, self.word)} with 0 and {top}" for top, files in groups)
        message = f"the {self.word}s of this data set are coded in {len(groups)} ways: {coded}"
        first, *others = (path for _, files in reversed(groups) for path in files_named(files))
        yield Finding("mixed_mask_coding", "warning", first, message, self.hint, tuple(others))


def is_blurred(marks: Array) -> bool:
    """Tell whether the outlines of a mask `(H, W)` of 0 and 255 are smoothed.

    Example:
        >>> is_blurred(np.array([[0, 9, 70, 128, 180, 240, 255, 255]], np.uint8))
        True
        >>> is_blurred(np.array([[1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 255, 255]], np.uint8))
        False
    """
    if marks.dtype == bool or not marks.size or marks.max() not in TOPS[1:]:
        return False
    between = (marks > 0) & (marks < marks.max())
    flat = between[:, 1:] & (marks[:, 1:] == marks[:, :-1])
    if np.count_nonzero(flat) > FLAT * np.count_nonzero(between):
        return False  # numbers of objects
    return len(np.unique(marks[between])) >= SMOOTH


def blurred(word: str, files: Sequence[Path]) -> Iterator[Finding]:
    """Report masks with smoothed outlines; `word` is the word for such a file."""
    if files:
        first, *others = files_named(files)
        subject = f"{named(files, word)} {'have' if len(files) > 1 else 'has'} smoothed outlines"
        message = f"{subject}: of the values between 0 and the largest one, all are taken for the object"
        hint = "export them without smoothing, scaling and JPEG, else objects are too large by their outlines"
        yield Finding("blurred_mask", "warning", first, message, hint, tuple(others))


def files_named(files: Sequence[Path]) -> list[Path]:
    """List the files that `named` names."""
    return sorted(files)[:SHOWN]


def named(files: Sequence[Path], word: str) -> str:
    """Count files and name the first ones.

    Example:
        >>> named([Path("a.png"), Path("b.png")], "mask")
        '2 masks (`a.png`, `b.png`)'
    """
    shown = ", ".join(f"`{path}`" for path in files_named(files))
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"{len(files)} {word}{'s' * (len(files) != 1)} ({shown}{more})"


def white_is_zero(word: str, files: Sequence[Path], *, as_shown: bool) -> Iterator[Finding]:
    """Report files that declare 0 as white.

    Args:
        word: Word for such a file.
        files: The files.
        as_shown: Whether they are read as a viewer shows them, like images, and not as stored, like masks.
    """
    if not files:
        return
    first, *others = files_named(files)
    subject = f"{named(files, word)} declare{'s' * (len(files) == 1)} that 0 is white"
    if as_shown:
        message = f"{subject}: read as in a viewer: white is high"
        yield Finding("white_is_zero", "info", first, message, "", tuple(others))
        return
    message = f"{subject}: the stored numbers count, so the foreground is what a viewer shows in black"
    hint = "right for masks that tifffile or ImageJ wrote; if the foreground is white in a viewer, save them as PNG"
    yield Finding("white_is_zero", "warning", first, message, hint, tuple(others))
