"""Masks of many classes: each pixel holds the colour or the number of its class."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from segcli.core.errors import DataError
from segcli.core.types import Array, ConfigModel, FilePath
from segcli.data.checks import Finding
from segcli.data.classes.class_list import NUMBERS, ClassList, IgnoredClass
from segcli.data.classes.coding import Codings, files_named, named
from segcli.data.classes.colors import UNKNOWN, ColorTable, Stray
from segcli.data.classes.palettes import Palettes
from segcli.data.images import Headers, Marks, read_image, read_marks
from segcli.data.settings import DatasetSpec

__all__ = ["MaskFormat", "MaskKeys", "MaskReader", "UnknownColors"]

MaskFormat = Literal["rgb", "index"]
UnknownColors = Literal["error", "ignore", "nearest"]
JPEG = {".jpg", ".jpeg"}
BLURRED = 64
"""With at least this many colours of no class, JPEG or smoothing is the cause, not a forgotten class."""
SHOWN = 3
CODING_HINT = "look at the second kind: its 255 does not count, and class 1 is written as 1"
FOREGROUND = 255
"""Number of the foreground in masks of black and white."""


class MaskKeys(ConfigModel):
    """Defines the keys of layouts whose masks may have many classes."""

    mask_format: MaskFormat = "rgb"
    """`rgb`: each class has a colour. `index`: each pixel holds the number of its class."""
    classes_file: FilePath | None = None
    """CSV with the columns `id`, `name`, `r`, `g`, `b`, used instead of `classes`; looked up beside the data-set
    file, then in `root`."""
    ignore: list[str | IgnoredClass] = []
    """Classes whose pixels count neither in the loss nor in the metrics, such as `void`."""
    numbers: list[Annotated[int, Field(ge=0, le=65535)]] | None = None
    """Number of each of `classes` in index masks; default: 0, 1, 2 and so on."""
    unknown_colors: UnknownColors = "error"
    """Decides what to do with colours (or numbers) that belong to no class. `error`: refuse the mask. `ignore`: leave
    these pixels out. `nearest`: take the class of the nearest colour."""

    def reader(self, spec: DatasetSpec) -> "MaskReader":
        """Make the reader for the masks of a data set.

        Raises:
            ConfigError: There are no classes, a class has no colour, or two classes share one.
        """
        listed = ClassList.of(spec, self.ignore, self.numbers, colored=self.mask_format == "rgb")
        return MaskReader(listed, self.mask_format, self.unknown_colors)


@dataclass
class _Strays:
    """Collects the colours of a mask that belong to no class."""

    path: Path
    found: list[Stray]
    pixels: int
    """Pixels of the whole mask."""

    @property
    def blurred(self) -> bool:
        """Tell whether JPEG or smoothing produced these colours."""
        return len(self.found) >= BLURRED or self.path.suffix.lower() in JPEG

    def message(self, classes: ClassList) -> str:
        """Name the file, the colours, their counts and the nearest classes."""
        if self.blurred:
            share = sum(stray.count for stray in self.found) / self.pixels
            how = "saved as JPEG" if self.path.suffix.lower() in JPEG else "once saved as JPEG, scaled or smoothed,"
            return (
                f"mask `{self.path}` holds {len(self.found):,} colours that belong to no class "
                f"({share:.1%} of its pixels): it was {how} and its classes are blurred"
            )
        colors = [
            f"{stray.color} ({stray.count} pixels, nearest `{classes.names[stray.nearest]}` "
            f"{classes.colors[stray.nearest]})"
            for stray in self.found[:SHOWN]
        ]
        if len(self.found) == 1:
            return f"mask `{self.path}` holds the colour {colors[0]}, which belongs to no class"
        more = f" and {len(self.found) - SHOWN} more" if len(self.found) > SHOWN else ""
        return f"mask `{self.path}` holds {len(self.found)} colours that belong to no class: {', '.join(colors)}{more}"

    def hint(self) -> str:
        """Suggest what to do."""
        if self.blurred:
            return (
                "export the mask as PNG without smoothing; `unknown_colors: nearest` takes the nearest class, which is "
                "often wrong along outlines"
            )
        return "add the class to `classes`, correct the mask, or set `unknown_colors: ignore` or `nearest`"


@dataclass(frozen=True)
class MaskReader:
    """Reads masks into class indices.

    Args:
        classes: Classes that a mask may hold.
        mask_format: Colours or numbers.
        unknown_colors: What to do with other colours or numbers.
        page: Page to read of files of several pages, counted from 0.
    """

    classes: ClassList
    mask_format: MaskFormat
    unknown_colors: UnknownColors
    page: int | None = None
    may_be_binary: bool = True
    """Tells whether the layout also reads masks of one class."""
    codings: Codings = field(default_factory=lambda: Codings(hint=CODING_HINT), compare=False)
    """Codings of the examined masks of two classes."""
    palettes: Palettes = field(default_factory=Palettes, compare=False)
    """Palettes of the examined masks of numbers."""
    headers: Headers | None = field(default=None, compare=False)
    """Receives the headers of the masks that are read."""

    def read(self, path: Path) -> dict[str, Array]:
        """Read `mask` and `valid`, each `(H, W)` uint8.

        Raises:
            DataError: The file is unreadable, has the other mask format, or holds a colour or number of no class.
        """
        if self.mask_format == "index":
            return self.classes.maps(self._numbered(path))
        rgb = self._rgb(path)
        positions, strays = self._painted(rgb, path)
        if strays is not None and self.unknown_colors == "error":
            raise DataError(strays.message(self.classes), hint=strays.hint())
        return self.classes.maps(positions)

    def written(self, mask: Array) -> Array:
        """Turn class indices `(H, W)` uint8 into the colours or numbers that masks of this data set hold."""
        if self.mask_format == "rgb":
            painted: Array = np.array(self.classes.colors, np.uint8)[mask]
            return painted
        numbers = np.array(self.classes.numbers[: self.classes.num_counted])
        return numbers.astype(np.uint8 if numbers.max() <= 255 else np.uint16)[mask]

    def examine(self, path: Path) -> tuple[dict[str, Array], list[Finding]]:
        """Read a mask, with findings instead of errors; report colours of no class even where they are allowed."""
        try:
            if self.mask_format == "index":
                maps, findings = self.classes.maps(self._examined(path)), []
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

    def compared(self) -> Iterator[Finding]:
        """Report masks of two classes that store the second one in different ways, or only as an ignored number."""
        yield from self.codings.findings()
        yield from self.palettes.findings(self.classes.names, self.classes.stated)
        if list(self.codings.files) == [FOREGROUND]:
            files = list(self.codings.files[FOREGROUND])
            first, *others = files_named(files)
            yield Finding(
                "ignored_foreground",
                "warning",
                first,
                f"no mask holds class 1, and {named(files, 'mask')} hold{'s' * (len(files) == 1)} 0 and {FOREGROUND}, "
                "which does not count",
                f"if {FOREGROUND} is the foreground, {self._two_classes(FOREGROUND)}, without `ignore`",
                tuple(others),
            )

    def _finding(self, strays: _Strays) -> Finding:
        code, message = "blurred_mask" if strays.blurred else "unknown_colors", strays.message(self.classes)
        if self.unknown_colors == "error":
            return Finding(code, "error", strays.path, message, strays.hint())
        done = {"ignore": "leaves these pixels out", "nearest": "takes the nearest class"}[self.unknown_colors]
        return Finding(code, "warning", strays.path, message, f"`unknown_colors: {self.unknown_colors}` {done}")

    @cached_property
    def _table(self) -> ColorTable:
        return ColorTable(self.classes.colors)

    def _rgb(self, path: Path) -> Array:
        """Read colours; a grey file holds greys, because programs save colours that are all grey like that."""
        rgb = read_image(path, self.page, self.headers)
        if rgb.shape[2] == 1 and rgb.dtype == np.uint8 and not (self._table.indices(_repeated(rgb)) == UNKNOWN).any():
            return _repeated(rgb)
        if rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            has = f"{rgb.shape[2]} channel{'s' * (rgb.shape[2] != 1)} of {8 * rgb.dtype.itemsize} bits"
            raise DataError(
                f"mask `{path}` has {has}; a colour mask has 3 channels of 8 bits",
                hint="set `mask_format: index` in the data-set file if its pixels hold the numbers of classes"
                if rgb.shape[2] == 1
                else "save it as RGB with 8 bits",
            )
        return rgb

    def _painted(self, rgb: Array, path: Path) -> tuple[Array, _Strays | None]:
        """Return positions in the list of classes, and the colours that are not in the list."""
        positions = self._table.indices(rgb)
        if not (positions == UNKNOWN).any():
            return positions, None
        strays = _Strays(path, self._table.strays(rgb, positions), positions.size)
        return (self._table.filled(rgb, positions) if self.unknown_colors == "nearest" else positions), strays

    def _examined(self, path: Path) -> Array:
        """Read positions in the list of classes, and note how a mask of two classes stores the second one."""
        marks = self._marks(path)
        labels = self._numbers(marks, path)
        positions = self._positions(labels, path)
        self.palettes.note(path, marks, {number: at for at, number in enumerate(self.classes.numbers)})
        if self.classes.numbers[: self.classes.num_counted] == [0, 1]:
            if (labels == 1).any():
                self.codings.note(path, 1)
            elif (labels == FOREGROUND).any() and (labels == 0).any():
                self.codings.note(path, FOREGROUND)
        return positions

    def _numbered(self, path: Path) -> Array:
        return self._positions(self._numbers(self._marks(path), path), path)

    def _marks(self, path: Path) -> Marks:
        try:
            return read_marks(path, self.page, self.headers)
        except DataError as error:
            if "is a colour image" not in error.message:
                raise
            raise DataError(
                f"mask `{path}` is a colour image, but `mask_format: index` expects one number per pixel",
                hint="set `mask_format: rgb` and give each class a colour",
            ) from None

    def _numbers(self, marks: Marks, path: Path) -> Array:
        """Return the numbers of classes; one bit is 0 and 1, or the numbers of two classes."""
        labels = marks.values
        if labels.dtype == bool:
            first, second = self.classes.numbers[:2]
            of_two = self.classes.num_counted == 2 and first == 0 and 1 not in self.classes.numbers
            return labels.astype(np.uint16) * np.uint16(second if of_two else 1)  # one bit: class 0 and class 1
        if marks.loss is not None and labels.size and labels.min() != labels.max():
            raise DataError(
                f"mask `{path}` is stored as {marks.loss}, which changes the numbers of classes",
                hint="export it again, as PNG",
            )
        return labels

    def _positions(self, labels: Array, path: Path) -> Array:
        positions = self.classes.positions(labels)
        unknown = positions == UNKNOWN
        if self.unknown_colors != "ignore" and unknown.any():
            values, counts = np.unique(labels[unknown], return_counts=True)
            shown = ", ".join(f"{value} ({count} pixels)" for value, count in zip(values[:5], counts, strict=False))
            more = f" and {len(values) - 5} more" if len(values) > 5 else ""
            raise DataError(
                f"mask `{path}` holds {NO_CLASS}: {shown}{more}",
                hint=self._hint(labels),
            )
        return positions

    def _hint(self, labels: Array) -> str:
        """Suggest what to do about numbers of no class; never to ignore the only foreground of a mask."""
        values = set(np.unique(labels).tolist())
        top = max(values)
        if self.classes.num_counted == 2 and values <= {0, top} and 1 < top < NUMBERS:
            void = f"`ignore: [{{name: void, number: {top}}}]`"
            return f"if {top} is the foreground, {self._two_classes(top)}; if it does not count, set {void}"
        return (
            f"numbers of the classes: {', '.join(map(str, self.classes.numbers))}; add the class to `classes`, "
            "state all numbers with `numbers`, or set `unknown_colors: ignore`, which leaves these pixels out"
        )

    def _two_classes(self, number: int) -> str:
        """Tell the keys with which a number is the foreground, or the second class."""
        two = f"`classes: [{', '.join(self.classes.names[:2])}]` with `numbers: [0, {number}]`"
        if not self.may_be_binary:
            return f"set {two}"
        cut = "" if number in (1, FOREGROUND, NUMBERS - 1) else f" and `mask_threshold: {number // 2}`"
        return f"set `num_classes: 1`{cut} without `classes`, or {two}"


NO_CLASS = "numbers that belong to no class"


def _repeated(grey: Array) -> Array:
    return np.repeat(grey, 3, axis=2)


def _emptiness(maps: dict[str, Array], path: Path) -> Iterator[Finding]:
    if not maps["valid"].any():
        message, hint = f"mask `{path}` has only ignored pixels", "check the mask, or remove the image"
        yield Finding("empty_mask", "warning", path, message, hint)
