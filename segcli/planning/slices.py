"""Recognise small volumes in folders of TIFF slices, one folder each, with a table of their classes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.core.paths import escaped
from segcli.core.text import Row, read_table
from segcli.files import read_header
from segcli.planning.facts import Recognised
from segcli.planning.listing import Listing
from segcli.planning.looks import look_at
from segcli.planning.sides import draw

__all__ = ["tiff_volumes"]

TIFF = (".tif", ".tiff")
FEWEST = 4
"""Fewer folders are splits, or folders of images and masks."""
KNOWN = 0.8
"""Smallest share of the folders that a table must name."""
LARGEST = 80
"""Longest side of a crop."""
LOOKED = 200
"""Samples whose size is read."""


@dataclass(frozen=True)
class _Table:
    path: Path
    id_column: str
    class_column: str
    classes: dict[str, int]
    """Samples of each class."""
    others: tuple[str, ...]
    """Other columns that may be the class."""


def tiff_volumes(listing: Listing, given: Mapping[str, Any], name: str) -> Recognised | None:
    """Recognise samples of slices with a class each; None if there are no such folders, or no table names them.

    Raises:
        DataError: No file can be read.
    """
    inside = {child: listing.below(child).ending(*TIFF) for child in listing.children}
    inside = {child: folders for child, folders in inside.items() if folders and "." not in folders}
    if len(inside) < FEWEST:
        return None
    common = set.intersection(*map(set, inside.values()))
    table = _table(listing.tables, list(inside), given)
    if not 1 <= len(common) <= 2 or table is None:
        return None
    raw, mask = _roles(inside, sorted(common))
    found = Recognised(listing.root, name, "", {}, "classification")
    found.state("format", "tiff_volumes")
    found.state("paths.root", escaped(listing.root.absolute()))
    found.state("raw_folder", raw, "slices of many values")
    if mask is not None:
        found.state("mask_folder", mask, "slices of two values")
        found.state("apply_mask", True, "voxels outside the mask become 0, so that neighbours do not mislead", "likely")
    _state_table(found, table)
    found.state("crop_size", _crop(inside, raw), "median size of the samples, at most 80 along each axis")
    found.state("num_channels", 1)
    draw(found, list(inside), by=None, unit="sample")
    found.about = f"{len(inside)} volumes of TIFF slices, each of one of {len(table.classes)} classes"
    return found


def _roles(inside: Mapping[str, Mapping[str, list[Path]]], common: Sequence[str]) -> tuple[str, str | None]:
    """Tell the folder of the slices from that of their masks, by slices in the middle of some samples."""
    if len(common) == 1:
        return common[0], None
    samples = list(inside.values())[:: max(len(inside) // 5, 1)][:5]
    looks = {name: look_at([folders[name][len(folders[name]) // 2] for folders in samples]) for name in common}
    masks = [name for name in common if looks[name].is_mask]
    raw = [name for name in common if name not in masks]
    if len(masks) != 1:
        raw = sorted(common, key=lambda name: -looks[name].detail)
        masks = raw[1:]
    return raw[0], masks[0]


def _crop(inside: Mapping[str, Mapping[str, list[Path]]], raw: str) -> list[int]:
    """Return the median size of the samples: slices, rows, columns."""
    sizes = []
    for folders in list(inside.values())[:LOOKED]:
        files = folders[raw]
        header = read_header(files[0], 3) if len(files) == 1 else None
        sizes.append(header.size if header is not None else (len(files), *read_header(files[0], 2).size))
    return [min(int(median(lengths)), LARGEST) for lengths in zip(*sizes, strict=True)]


# ---- the table


def _table(tables: Sequence[Path], samples: Sequence[str], given: Mapping[str, Any]) -> _Table | None:
    """Find a table with a line for nearly every sample, and its column of classes."""
    known = {_bare(name) for name in samples}
    for path in tables:
        try:
            columns, rows = read_table(path)
        except (DataError, OSError):
            continue
        ids = [column for column in columns if _names(rows, column, known) >= KNOWN * len(known)]
        if not ids:
            continue
        mine = [row for row in rows if _bare(row.cells[ids[0]]) in known]
        classes = [column for column in columns if column != ids[0] and _are_classes(mine, column)]
        if given.get("class_column") in columns:
            classes = [given["class_column"]]
        if classes:
            counts = Counter(composed(row.cells[classes[0]]) for row in mine)
            return _Table(path, ids[0], classes[0], dict(sorted(counts.items())), tuple(classes[1:]))
    return None


def _names(rows: Sequence[Row], column: str, known: set[str]) -> int:
    return len({_bare(row.cells[column]) for row in rows} & known)


def _are_classes(rows: Sequence[Row], column: str) -> bool:
    """Tell whether a column holds a few texts that repeat; a measured number rarely does."""
    texts = Counter(row.cells[column] for row in rows)
    return 2 <= len(texts) <= max(len(rows) // 2, 2) and "" not in texts and len(texts) <= 50


def _bare(name: str) -> str:
    return composed(name).lstrip("0") or name


def _state_table(found: Recognised, table: _Table) -> None:
    if table.path.name != "classes.csv":
        found.state("classes_csv", table.path.name)
    for key, column, usual in (
        ("id_column", table.id_column, "sample_id"),
        ("class_column", table.class_column, "class"),
    ):
        if column != usual:
            others = (
                f"; other columns that repeat: {', '.join(table.others)}"
                if table.others and key == "class_column"
                else ""
            )
            found.state(key, column, f"column of `{table.path.name}`{others}", "likely" if others else "certain")
    counts = ", ".join(f"{count} {name}" for name, count in table.classes.items())
    found.state("classes", list(table.classes), f"column `{table.class_column}` of `{table.path.name}`: {counts}")
