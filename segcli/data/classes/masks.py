"""Masks of many classes: painted in colours, or with the number of the class in each pixel."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from segcli.core.errors import DataError
from segcli.core.types import Array, ConfigModel, FilePath
from segcli.data.checks import Finding
from segcli.data.classes.class_list import ClassList, IgnoredClass
from segcli.data.classes.colors import UNKNOWN, ColorTable, Stray
from segcli.data.images import read_image, read_labels
from segcli.data.settings import DatasetSpec

__all__ = ["MaskFormat", "MaskKeys", "MaskReader", "UnknownColors"]

MaskFormat = Literal["rgb", "index"]
UnknownColors = Literal["error", "ignore", "nearest"]
JPEG = {".jpg", ".jpeg"}
BLURRED = 64
"""So many colours that are no class come from JPEG or smoothing, not from classes that were forgotten."""
SHOWN = 3


class MaskKeys(ConfigModel):
    """Keys of formats whose masks may have many classes."""

    mask_format: MaskFormat = "rgb"
    """`rgb`: each class has a colour. `index`: each pixel holds the number of its class."""
    classes_file: FilePath | None = None
    """CSV with the columns `id`, `name`, `r`, `g`, `b`, in the place of `classes`; looked up beside the data-set
    file, then in `root`."""
    ignore: list[str | IgnoredClass] = []
    """Classes whose pixels count neither in the loss nor in the metrics, such as `void`."""
    numbers: list[Annotated[int, Field(ge=0, le=65535)]] | None = None
    """Number of each of `classes` in index masks; 0, 1, 2 and so on when left out."""
    unknown_colors: UnknownColors = "error"
    """What to do with colours (or numbers) that are no class: refuse the mask, leave the pixels out, or take the
    class of the nearest colour."""

    def reader(self, spec: DatasetSpec) -> "MaskReader":
        """What reads the masks of a data set.

        Raises:
            DataError: There are no classes, one lacks its colour, or two share one.
        """
        listed = ClassList.of(spec, self.ignore, self.numbers, colored=self.mask_format == "rgb")
        return MaskReader(listed, self.mask_format, self.unknown_colors)


@dataclass
class _Strays:
    """Colours of a mask that are no class."""

    path: Path
    found: list[Stray]
    pixels: int
    """Of the whole mask."""

    @property
    def blurred(self) -> bool:
        """Whether JPEG or smoothing made them."""
        return len(self.found) >= BLURRED or self.path.suffix.lower() in JPEG

    def told(self, classes: ClassList) -> str:
        """File, colours, counts and nearest classes."""
        if self.blurred:
            share = sum(stray.count for stray in self.found) / self.pixels
            how = "saved as JPEG" if self.path.suffix.lower() in JPEG else "saved as JPEG once, or scaled or smoothed,"
            return (
                f"mask `{self.path}` holds {len(self.found):,} colours that are no class ({share:.1%} of its pixels): "
                f"it was {how} and its classes are blurred"
            )
        colors = [
            f"{stray.color} ({stray.count} pixels, nearest `{classes.names[stray.nearest]}` "
            f"{classes.colors[stray.nearest]})"
            for stray in self.found[:SHOWN]
        ]
        if len(self.found) == 1:
            return f"mask `{self.path}` holds the colour {colors[0]}, which is no class"
        more = f" and {len(self.found) - SHOWN} more" if len(self.found) > SHOWN else ""
        return f"mask `{self.path}` holds {len(self.found)} colours that are no class: {', '.join(colors)}{more}"

    def mend(self) -> str:
        """What to do."""
        if self.blurred:
            return (
                "export the mask as PNG without smoothing; `unknown_colors: nearest` takes the nearest class, which is "
                "wrong along outlines"
            )
        return "add the class to `classes`, mend the mask, or set `unknown_colors: ignore` or `nearest`"


@dataclass(frozen=True)
class MaskReader:
    """Reads masks into class indices.

    Args:
        classes: What a mask may hold.
        mask_format: How.
        unknown_colors: What to do with the rest.
    """

    classes: ClassList
    mask_format: MaskFormat
    unknown_colors: UnknownColors

    def read(self, path: Path) -> dict[str, Array]:
        """`mask` and `valid`, each `(H, W)` uint8.

        Raises:
            DataError: The file is unreadable, of the other format, or holds what is no class.
        """
        if self.mask_format == "index":
            return self.classes.maps(self._numbered(path))
        rgb = self._rgb(path)
        positions, strays = self._painted(rgb, path)
        if strays is not None and self.unknown_colors == "error":
            raise DataError(strays.told(self.classes), hint=strays.mend())
        return self.classes.maps(positions)

    def written(self, mask: Array) -> Array:
        """Indices of classes that count, `(H, W)` uint8, as masks of this data set hold them."""
        if self.mask_format == "rgb":
            painted: Array = np.array(self.classes.colors, np.uint8)[mask]
            return painted
        numbers = np.array(self.classes.numbers[: self.classes.num_counted])
        return numbers.astype(np.uint8 if numbers.max() <= 255 else np.uint16)[mask]

    def examine(self, path: Path) -> tuple[dict[str, Array], list[Finding]]:
        """The same with findings instead of errors, and colours that are no class told even where they are allowed."""
        try:
            if self.mask_format == "index":
                maps, findings = self.classes.maps(self._numbered(path)), []
            else:
                positions, strays = self._painted(self._rgb(path), path)
                maps = self.classes.maps(positions)
                findings = [] if strays is None else [self._finding(strays)]
        except DataError as error:
            code = "unknown_classes" if NO_CLASS in error.message else "unreadable_label"
            return {}, [Finding(code, "error", path, error.message, error.hint or "")]
        if findings and findings[0].severity == "error":
            return {}, findings
        return maps, [*findings, *_emptiness(maps, path)]

    def _finding(self, strays: _Strays) -> Finding:
        code, told = "blurred_mask" if strays.blurred else "unknown_colors", strays.told(self.classes)
        if self.unknown_colors == "error":
            return Finding(code, "error", strays.path, told, strays.mend())
        done = {"ignore": "leaves these pixels out", "nearest": "takes the nearest class"}[self.unknown_colors]
        return Finding(code, "warning", strays.path, told, f"`unknown_colors: {self.unknown_colors}` {done}")

    @cached_property
    def _table(self) -> ColorTable:
        return ColorTable(self.classes.colors)

    def _rgb(self, path: Path) -> Array:
        rgb = read_image(path)
        if rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            has = f"{rgb.shape[2]} channel{'s' * (rgb.shape[2] != 1)} of {8 * rgb.dtype.itemsize} bits"
            raise DataError(
                f"mask `{path}` has {has}, a mask painted in colours has 3 of 8 bits",
                hint="set `mask_format: index` in the data-set file if its pixels hold the numbers of classes",
            )
        return rgb

    def _painted(self, rgb: Array, path: Path) -> tuple[Array, _Strays | None]:
        """Positions in the list of classes, and the colours that are not in it."""
        positions = self._table.indices(rgb)
        if not (positions == UNKNOWN).any():
            return positions, None
        strays = _Strays(path, self._table.strays(rgb, positions), positions.size)
        return (self._table.filled(rgb, positions) if self.unknown_colors == "nearest" else positions), strays

    def _numbered(self, path: Path) -> Array:
        try:
            labels = read_labels(path)
        except DataError as error:
            if "is a colour image" not in error.message:
                raise
            raise DataError(
                f"mask `{path}` is a colour image, `mask_format: index` expects one number for each pixel",
                hint="set `mask_format: rgb`, and a colour for each class",
            ) from None
        positions = self.classes.positions(labels)
        unknown = positions == UNKNOWN
        if self.unknown_colors != "ignore" and unknown.any():
            values, counts = np.unique(labels[unknown], return_counts=True)
            told = ", ".join(f"{value} ({count} pixels)" for value, count in zip(values[:5], counts, strict=False))
            more = f" and {len(values) - 5} more" if len(values) > 5 else ""
            raise DataError(
                f"mask `{path}` holds {told}{more}{NO_CLASS}",
                hint=f"there are the numbers {', '.join(map(str, self.classes.numbers))}; add the class to `classes`, "
                "or set `unknown_colors: ignore`",
            )
        return positions


NO_CLASS = ", the number of no class"


def _emptiness(maps: dict[str, Array], path: Path) -> Iterator[Finding]:
    if not maps["valid"].any():
        message, mend = f"mask `{path}` is ignored throughout", "make sure that nothing is there, or take it away"
        yield Finding("empty_mask", "warning", path, message, mend)
