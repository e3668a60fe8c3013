"""Faults in the values of an HDF5 file of volumes: unwritten chunks, flags, and cases that are too large to read."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.free_memory import too_large
from segcli.data.checks import Finding
from segcli.data.whole_numbers import NEAR
from segcli.files._hdf5_content import never_written, numbers_in, unwritten

__all__ = ["NEEDED", "content_faults", "shapes_in"]

NEEDED = ("images", "masks", "presence_labels")


def shapes_in(file: Any, path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the datasets that every file has.

    Raises:
        DataError: The file lacks one of them, or it holds no numbers.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for key in NEEDED:
        found = numbers_in(file, path, key)
        if found is None:
            raise DataError(
                f"`{path}` has no dataset `{key}`; it has {', '.join(file) or 'none'}",
                hint="write `images`, `masks` and `presence_labels`, as `segcli data convert` does",
            )
        shapes[key] = tuple(map(int, found.shape))
    return shapes


def content_faults(file: Any, path: Path, case_names: list[str], structures: list[str]) -> Iterator[Finding]:
    """Find what would be read as something else than the writer of the file meant, without reading a case.

    Args:
        file: The open file; its datasets have shapes that fit each other.
        path: The file.
        case_names: Names of the cases.
        structures: Names of the structures.
    """
    images, masks, flags = (numbers_in(file, path, key) for key in NEEDED)
    yield from _too_large(path, images, masks)
    yield from _never_written(path, images, masks, flags)
    yield from _faulty_flags(path, flags, case_names, structures)


def _too_large(path: Path, images: Any, masks: Any) -> Iterator[Finding]:
    needed = sum(math.prod(each.shape[1:]) * each.dtype.itemsize for each in (images, masks))
    message = too_large(f"a case of `{path}`", needed)
    if message is not None:
        yield Finding("too_large", "error", path, message, "write smaller volumes, such as crops")


def _never_written(path: Path, images: Any, masks: Any, flags: Any) -> Iterator[Finding]:
    if flags.size and unwritten(flags).any():
        error = never_written("presence_labels", str(path), float(unwritten(flags).max()))
        yield Finding("never_written", "error", path, error.message, error.hint or "")
    for key, shares in (("images", unwritten(images)), ("masks", unwritten(masks))):
        # absent structures may be left out of the masks: their flags say so
        faulty = np.flatnonzero(shares > 0 if key == "images" else shares == 1)
        if faulty.size:
            error = never_written(key, f"{path}[{faulty[0]}]", float(shares[faulty[0]]))
            more = f" (so are {faulty.size - 1} more cases)" if faulty.size > 1 else ""
            yield Finding("never_written", "error", path, error.message + more, error.hint or "")
        elif shares.any():
            count = int((shares > 0).sum())
            message = f"`{path}`: {shares.mean():.0%} of the chunks of `{key}` were never written, in {count} of "
            hint = "they are read as 0: right where a structure is absent"
            yield Finding("partly_written", "warning", path, f"{message}{len(shares)} cases", hint)


def _faulty_flags(path: Path, flags: Any, case_names: list[str], structures: list[str]) -> Iterator[Finding]:
    values = np.asarray(flags[:], np.float64)
    near = np.abs(values - (values > 0.5)) <= NEAR  # False for NaN
    faulty = np.argwhere(~near)
    if faulty.size:
        case, structure = faulty[0]
        more = f" (and {len(faulty) - 1} more such flags)" if len(faulty) > 1 else ""
        message = (
            f"`{path}[{case}]` ({case_names[case]}): the presence flag of `{structures[structure]}` is "
            f"{values[case, structure]:g}, but a flag is 0 or 1{more}"
        )
        hint = "write 1 where the structure is present, 0 where it is absent; leave out cases for which it is not known"
        yield Finding("unexpected_flag", "error", path, message, hint)
