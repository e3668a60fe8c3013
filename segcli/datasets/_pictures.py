"""Common part of layouts of 2D images: keys, channels, masks, headers and checks.

A layout based on it defines the splits (`has`) and the files that belong together (`found`).
"""

from abc import abstractmethod
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from segcli.core.errors import DataError
from segcli.core.names import composed, safe_name, without_affixes
from segcli.core.types import Array, Range
from segcli.data.checks import Finding, raise_on_error, size_mismatch, tried, unusable_split
from segcli.data.classes.binary_masks import BinaryMasks
from segcli.data.classes.class_files import JoinedMasks
from segcli.data.classes.class_list import Mistake, completed_classes
from segcli.data.classes.coding import FIELD_HINT, Codings
from segcli.data.classes.masks import MaskKeys, MaskReader
from segcli.data.conversion import Color, Conversion
from segcli.data.faults.damaged import damaged
from segcli.data.faults.endings import cut_ends
from segcli.data.faults.orientation import OtherTurn
from segcli.data.field_of_view import read_field
from segcli.data.images import EXTENSIONS, Headers, natural_key, supported
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.datasets import Layout
from segcli.datasets._channel_files import ChannelFiles, counted_channels
from segcli.datasets._class_files import ClassFiles
from segcli.datasets._notes import notes_of
from segcli.datasets._picture_channels import header_of_channels, pixels_of_file, read_channels
from segcli.files import Header, Picture, is_picture_folder, read_header
from segcli.files._endings import stated_formats
from segcli.files._joined import open_joined
from segcli.files._orientation import as_shown

__all__ = ["ON_REQUEST", "PictureKeys", "Pictures", "by_stem", "endings_of", "unread_by_stem", "way_to_mask"]

BACK = {6: 8, 8: 6}
"""Orientations of EXIF that turn another one back; all others turn themselves back."""
RGB = 3
"""Channels of a colour image."""
ON_REQUEST = (".webp", ".jp2", ".pbm", ".pgm", ".ppm")
"""Extensions of pictures that are read if `extensions` names them, beside those of the formats."""


class PictureKeys(MaskKeys):
    """Defines the keys of every format of 2D images."""

    extensions: Annotated[list[str], Field(min_length=1)] = list(EXTENSIONS)
    """File-name extensions that count as images and masks."""
    color: Color = "as_stored"
    """Convert images: grey to RGB, RGB to grey, or take the green channel. `as_stored`: images must have `num_channels`
    channels."""
    intensity_range: Range | None = None
    """Stored values that become 0 and 1, such as `[0, 4095]` for 12 bits; default: the whole range of the type."""
    page: Annotated[int, Field(ge=0)] | None = None
    """Page or frame to read of every image and mask that has several, counted from 0. Without this key, such files are
    refused; a file of one page is read in any case."""

    @field_validator("extensions", "label_extensions", check_fields=False)
    @classmethod
    def _without_star(cls, given: list[str] | None) -> list[str] | None:
        """Take `*.png` for `png`."""
        return None if given is None else [each.strip().removeprefix("*") for each in given]


class Pictures(Layout):
    """Reads 2D images with a mask each, binary or of many classes, and optionally a field-of-view mask."""

    def __init__(self, config: PictureKeys, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.convert = Conversion(config.color, spec.num_channels, config.intensity_range, spec.channels)
        self.convert.check(spec.name)
        self.page = config.page
        self.channels = ChannelFiles("", [])
        self.classes = ClassFiles("", [])
        self.headers: Headers = {}
        self.masks = replace(self.reader(), page=config.page, headers=self.headers)
        alike = Codings(hint=FIELD_HINT)  # a file of one class marks it with any number
        each = BinaryMasks(page=config.page, codings=alike, headers=self.headers, any_number=True)
        self.joined = JoinedMasks(each)
        self.fields = Codings("field-of-view mask", FIELD_HINT)

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Read the classes of the CSV, without the ignored ones, and count them; count files of channels, too."""
        changes, mistakes = completed_classes(values)
        if not values.get("channel_suffixes"):
            return changes, mistakes
        count, faults = counted_channels(values)
        return changes | count, [*mistakes, *faults]

    def reader(self) -> MaskReader | BinaryMasks:
        """Make the reader of the masks.

        Raises:
            ConfigError: The classes are not stated correctly.
        """
        several = self.spec.num_classes > 1
        made: MaskReader | BinaryMasks = self.config.reader(self.spec) if several else BinaryMasks()
        return made

    @property
    def learns_outside(self) -> bool:
        """Tell whether pixels outside the field of view count as background in the loss."""
        return False

    # ---- finding cases

    @abstractmethod
    def found(self, split: str) -> tuple[list[Case], list[Finding]]:
        """Find the cases of a split in natural order, including those with faults, and the missing files.

        Raises:
            DataError: A folder is missing, or the split cannot be drawn.
        """

    def cases(self, split: str) -> list[Case]:
        """Find the cases of a split, in natural order, each with its mask."""
        cases, findings = self.found(split)
        raise_on_error(findings)
        return cases

    def all_cases(self, split: str) -> list[Case]:
        """Find the cases of a split, including those without a mask."""
        return self.found(split)[0]

    # ---- reading

    def size(self, case: Case) -> tuple[int, ...]:
        """Read height and width as stored."""
        return self.header(case.image).size

    def header(self, path: Path) -> Header:
        """Read the header of a file, once; `examine` reads it with the pixels."""
        if path not in self.headers:
            self.headers[path] = read_header(path, 2, self.page)
        return self.headers[path]

    def read(self, case: Case) -> Sample:
        """Decode image, mask and field of view, all of one size."""
        image = self.convert(read_channels(case.images, self.page), case.image)
        maps = {} if case.label is None else self._truth(case, case.label, image.shape[:2])
        if case.fov is not None:
            field = self._field(case.fov)
            maps["valid"] = _inside(field, maps.get("valid"))
            if self.learns_outside:
                maps["outside"] = 1 - field
        for name, values in maps.items():
            if values.shape != image.shape[:2]:
                path = case.fov if name != "mask" and case.fov is not None else case.label
                assert path is not None
                raise self._of_other_size(path, values.shape, case, image.shape[:2])
        if "outside" in maps and "mask" in maps:
            maps["mask"] = maps["mask"] * (maps["outside"] == 0)
        return Sample(image=image, maps=maps)

    def _truth(self, case: Case, label: Path, size: tuple[int, ...]) -> dict[str, Array]:
        """Read the mask; of one file for each class, after comparing the size of each."""
        if not case.class_files:
            return self.masks.read(label)
        for path in case.labels:
            if (have := self.header(path).size) != size:
                raise self._of_other_size(path, have, case, size)
        return self.joined.read(case.class_files)

    def _of_other_size(self, path: Path, size: tuple[int, ...], case: Case, wanted: tuple[int, ...]) -> DataError:
        orientations = self.header(path).orientation, self.header(case.image).orientation
        finding = size_mismatch(path, size, case.image, wanted, orientations)
        return DataError(finding.message, hint=finding.hint)

    def _field(self, path: Path) -> Array:
        """Read a field of view as 0 and 1."""
        return read_field(path, self.page).inside.view(np.uint8)

    def _examined_field(self, path: Path) -> Array:
        """Read a field of view, and note the value of its inside."""
        field = read_field(path, self.page, self.headers)
        if field.top is not None:
            self.fields.note(path, field.top)
        return field.inside.view(np.uint8)

    def inputs(self, path: Path) -> list[Case]:
        """Take the image in a file to predict, at the page that the data set states."""
        return [Case(self._name_of(path), path, index=self.page)]

    def opened(self, path: Path, index: int | None = None) -> Picture:
        """Open an image to predict; the files of its other channels lie beside it."""
        return open_joined(self.channels.beside(path), self.ndim, index)

    def leading(self, files: Sequence[Path]) -> list[Path]:
        """Return the file of the first channel of each image."""
        return self.channels.leading(files)

    def answer_path(self, folder: Path, path: Path) -> Path:
        """Name the prediction after the image, without the suffix of a channel."""
        return folder / safe_name(f"{self._name_of(path)}.png")

    def _name_of(self, path: Path) -> str:
        """Name the image of a file: of several files, without the suffix, or after its folder if nothing is left."""
        name = self.channels.name(path) if self.channels.are_several else None
        return path.stem if name is None else name or path.absolute().parent.name

    def converted(self, pixels: Array, path: Path) -> Array:
        """Convert pixels by `color` and `intensity_range`; an RGB image becomes grey if the network takes grey ones."""
        return self.convert.of_input(supported(pixels, path), path)

    def made_grey(self, cases: Sequence[Case]) -> int:
        """Count the images to predict that `converted` turns from RGB to grey, by their headers."""
        count = 0
        for case in cases if self.convert.greys(RGB) else ():
            with suppress(DataError):  # reported when the image is read
                count += self.convert.greys(read_header(case.image, 2, case.index).channels)
        return count

    def as_stored(self, answer: Array) -> Array:
        """Turn class indices into the numbers or colours of the masks of the data set."""
        return self.masks.written(answer)

    # ---- checks

    def inspect(self, split: str) -> Iterator[Finding]:
        """Find faults of a split without decoding images: missing partners, headers, sizes, channels."""
        try:
            cases, findings = self.found(split)
        except DataError as error:
            yield self.unusable(split, error)
            return
        yield from findings
        for case in cases:
            yield from self._inspect_headers(case)

    def compared(self, splits: Sequence[str]) -> Iterator[Finding]:
        """Tell which files are turned, or have one page where others have several; report different codings."""
        yield from self.masks.compared()
        yield from self.joined.each.compared()
        yield from self.fields.findings()
        headers: dict[str, dict[Path, Header]] = {"image": {}, "mask": {}, "field-of-view mask": {}}
        for case in (case for split in splits for case in self.all_cases(split)):
            fields = [] if case.fov is None else [case.fov]
            kinds = zip(headers, ([case.image], case.labels, fields), strict=True)
            for word, path in ((word, path) for word, paths in kinds for path in paths):
                with suppress(DataError):  # reported by `inspect`
                    headers[word][path] = self.header(path)
            with suppress(DataError):
                first = self.header(case.image)
                others = {path: self.header(path) for path in case.others}
                headers["image"] |= {path: each for path, each in others.items() if each.itemsize == first.itemsize}
        indexed = self.spec.num_classes == 1 or self.config.mask_format == "index"
        numbered = self.spec.num_classes > 1 and not self.classes.suffixes
        yield from notes_of(headers, self.page, numbered=numbered, indexed=indexed)

    def unusable(self, split: str, error: DataError) -> Finding:
        """Report a split whose cases cannot be found."""
        return unusable_split("unusable_data", self.root, error)

    def _inspect_headers(self, case: Case) -> Iterator[Finding]:
        findings: list[Finding] = []
        image = header_of_channels(case, self.header, findings)
        headers: dict[Path, Header] = {}
        partners = [*(("label", path) for path in case.labels), *([] if case.fov is None else [("fov", case.fov)])]
        for kind, path in partners:
            try:
                headers[path] = self.header(path)
            except DataError as error:
                findings.append(Finding(f"unreadable_{kind}", "error", path, error.message, error.hint or ""))
        yield from findings
        if image is None:
            return
        yield from self.convert.inspect(image, case.image)
        for _, path in partners:
            header = headers.get(path)
            if header is not None and header.size != image.size:
                yield size_mismatch(path, header.size, case.image, image.size, (header.orientation, image.orientation))

    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode image, mask and field of view separately, and check their contents."""
        findings: list[Finding] = []
        image = tried(findings, "unreadable_image", case.image, lambda _: self._examine_image(case, findings))
        maps: dict[str, Array] = {}
        if case.label is not None:
            several = case.class_files
            maps, found = self.joined.examine(several) if several else self.masks.examine(case.label)
            findings += found
        field = tried(findings, "unreadable_fov", case.fov, self._examined_field)
        if image is None:
            return None, findings
        for path in (*case.images, *case.labels, case.fov):
            if path not in {finding.file for finding in findings}:
                findings += list(cut_ends(path)) or damaged(path, pixels_of_file(image, case, path))
        fitting = {name: values for name, values in maps.items() if values.shape == image.shape[:2]}
        if field is not None and field.shape == image.shape[:2]:
            fitting["valid"] = _inside(field, fitting.get("valid"))
        return Sample(image=image, maps=fitting), findings

    def turned_alike(self, case: Case, sample: Sample) -> OtherTurn | None:
        """Turn a mask by the orientation of EXIF or TIFF of its image in place of its own."""
        if case.label is None or "mask" not in sample.maps:
            return None
        ours, others = self.header(case.label).orientation, self.header(case.image).orientation
        if any(self.header(path).orientation != ours for path in case.labels):
            return None
        mask = as_shown(as_shown(sample.maps["mask"], BACK.get(ours, ours)), others)
        if ours == others or mask.shape != sample.maps["mask"].shape:
            return None
        words = f"mask `{case.label}` states orientation {ours} (EXIF or TIFF), its image `{case.image}` {others}"
        return OtherTurn(mask, words, "state the same orientation in both files, or in none")

    def _examine_image(self, case: Case, findings: list[Finding]) -> Array:
        stored = read_channels(case.images, self.page, self.headers)
        image = self.convert(stored, case.image)
        findings += self.convert.examine(stored, case.image, image)
        return image


def endings_of(extensions: Sequence[str]) -> set[str]:
    """Return extensions, with or without a dot, as the ends of file names that they stand for."""
    return {f".{extension.lower().lstrip('.')}" for extension in extensions}


def by_stem(
    folder: Path,
    extensions: Sequence[str],
    suffixes: Sequence[str] = ("",),
    prefix: str = "",
    *,
    with_folders: bool = False,
) -> dict[str, list[Path]]:
    """Find the files of a folder by their stem without prefix and suffix, in natural order, in normal form.

    Args:
        folder: An existing folder.
        extensions: Endings of file names that count, with or without a dot.
        suffixes: Ends of stems; a file counts if it has one of them.
        prefix: Begin of stems; a file counts if it has it.
        with_folders: Folders that are one image, such as one of masks of single objects, count too.
    """
    endings = endings_of(extensions)
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=natural_key):
        is_folder = with_folders and is_picture_folder(path, 2)
        if path.name.startswith(".") or not (is_folder or path.suffix.lower() in endings):
            continue
        key = without_affixes(composed(path.stem), prefix, suffixes)
        if key is not None:
            found.setdefault(key, []).append(path)
    return found


def unread_by_stem(folder: Path, extensions: Sequence[str], images: Container[Path] = ()) -> dict[str, Path]:
    """Find the files of a folder that do not count for their extension and are no `images`, by their normal stem."""
    read = endings_of(extensions)
    stated = (ending for each in stated_formats() if 2 in each.axes for ending in each.endings)
    readable = {*ON_REQUEST, *stated} - read
    return {
        composed(path.stem): path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in readable and path not in images
    }


def way_to_mask(unread: Path | None, otherwise: str, key: str = "extensions") -> str:
    """Advise on an image without mask.

    Args:
        unread: File with the name of the mask whose extension does not count; None if there is none.
        otherwise: What to advise without such a file.
        key: Key that names the extensions of masks.
    """
    if unread is None:
        return otherwise
    return f"`{unread.name}` is there: add `{unread.suffix[1:].lower()}` to `{key}` in the data-set file to read it"


def _inside(field: Array, valid: Array | None) -> Array:
    """Find the valid pixels: inside the field of view, and not of an ignored class."""
    return field if valid is None or valid.shape != field.shape else field * valid
