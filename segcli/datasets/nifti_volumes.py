"""Volumes in NIfTI files: `imagesTr/case_001.nii.gz` with label maps `labelsTr/case_001.nii.gz` of the same stems.

A label map holds the number of a structure in each voxel. Sizes and spacings may differ from case to case; axes are
brought into one order (left to right, back to front, bottom to top). Reading needs the extra `medical`.

Each channel may be a file of its own, each case may have a folder, and other formats of volumes, such as TIFF, are read
if `extensions` names them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from segcli.core.cached import cached_method
from segcli.core.errors import DataError
from segcli.core.names import composed, existing, fits, safe_name
from segcli.core.near_paths import folders_in
from segcli.core.types import Array
from segcli.data.checks import Finding, doubles, extra_label, raise_on_error, unusable_split
from segcli.data.classes.class_files import joined, marked
from segcli.data.classes.class_list import Mistake
from segcli.data.faults.orientation import OtherTurn
from segcli.data.images import read_voxels
from segcli.data.placement import placement
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.split_settings import ShareSettings
from segcli.data.splits import Division, divide
from segcli.data.structures import channels_last
from segcli.data.whole_numbers import whole
from segcli.datasets._case_folders import case_name, files_of_cases, for_each_case, place_name, share_stars
from segcli.datasets._channel_files import ChannelFiles, counted_channels
from segcli.datasets._class_files import (
    ClassFileKeys,
    ClassFiles,
    first_and_all,
    lacking_classes,
    named_classes,
    unnamed_files,
)
from segcli.datasets._label_numbers import refuse_unknown
from segcli.datasets._listed_structures import completed_structures
from segcli.datasets._masks_beside import without_masks
from segcli.datasets._small import COUNTS, volume
from segcli.datasets._volume_faults import SAME_SIZE, differ, header_faults, turned_as_image, unread
from segcli.datasets._volumes import VolumeKeys, Volumes
from segcli.files import (
    Header,
    Picture,
    answer_name,
    create,
    ending_of,
    endings,
    read_header,
)
from segcli.files._joined import open_joined

__all__ = ["NIfTIVolumes"]

Files = dict[str, list[Path]]


class NIfTIVolumes(Volumes):
    """Reads medical volumes of any size: one file with one label map per case."""

    class Config(VolumeKeys, ClassFileKeys):
        """Defines the keys of `format: nifti_volumes`."""

        image_folder: str = "imagesTr"
        """Folder of the images, in `paths.root`. A `*` stands for the folder of each case, as in `*/images`."""
        label_folder: str = "labelsTr"
        """Folder of the label maps; a `*` stands for the same folders as in `image_folder`."""
        image_prefix: str = ""
        """Begin of the stem of an image that its label map does not have."""
        label_prefix: str = ""
        """Begin of the stem of a label map, such as `seg_`."""
        image_suffix: str = ""
        """End of the stem of an image that its label map does not have, such as `_0000`."""
        label_suffix: str = ""
        """End of the stem of a label map, such as `_seg`."""
        channel_suffixes: list[str] = []
        """Ends of the stems of files that hold one channel of an image each, in the order of the channels, such as
        `[_0000, _0001]` or `[_flair, _t1, _t2]`. Without it, an image is one file."""
        extensions: Annotated[list[str], Field(min_length=1)] = [".nii.gz", ".nii"]
        """Extensions of images and label maps: those of any format of single volumes, such as `[.tif]`."""
        exclude: list[str] = []
        """Names of cases to leave out, with wildcards, such as `['*_4d']`."""
        numbers: list[Annotated[int, Field(ge=0, le=65535)]] | None = None
        """Number of each of `classes` in the label maps; default: 1, 2, 3 and so on, or 0, 1, 2 and so on if classes
        exclude each other (`task: multiclass`)."""
        other_labels: Literal["error", "ignore"] = "error"
        """Decides what to do with numbers that belong to no class. `error`: refuse the case. `ignore`: treat them as
        background (with `task: multiclass`, leave the voxels out)."""
        split: ShareSettings = ShareSettings()
        """Split of the cases into training, validation and test: names, or shares such as `{val: 0.2}`."""

        @field_validator("extensions")
        @classmethod
        def _of_volumes(cls, given: list[str]) -> list[str]:
            found = [f".{each.lower().lstrip('.')}" for each in given]
            known = endings(3, many=False)
            for each in found:
                if each not in known:
                    raise ValueError(f"`{each}` is no extension of a volume; those are {', '.join(known)}")
            return found

    keeps_split = True
    selecting = ("exclude",)

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Complete the structures from `numbers` or from the Decathlon's `dataset.json`, where they are not stated."""
        named, mistakes = named_classes(values, background=values.get("task") == "multiclass")
        if mistakes:
            return {}, mistakes
        changes, mistakes = completed_structures({**values, **named})
        if mistakes:
            return {}, mistakes
        count, mistakes = counted_channels(values)
        return named | changes | count, mistakes

    @classmethod
    def write_small(cls, root: Path) -> dict[str, Any]:
        """Write volumes with label maps of two structures."""
        names = {split: [f"{split}_{index:02d}" for index in range(count)] for split, count in COUNTS.items()}
        for seed, name in enumerate(name for side in names.values() for name in side):
            image, masks = volume(seed)
            labels = masks[0] + 2 * masks[1]
            for folder, voxels in (("imagesTr", image), ("labelsTr", labels)):
                path = root / folder / f"{name}.nii.gz"
                with create(path, voxels.shape, voxels.dtype) as add:
                    add(voxels)
        return {"classes": ["left", "right"], "split": {"val": names["val"], "test": names["test"]}}

    def __init__(self, config: Config, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.config: NIfTIVolumes.Config = config
        self.channels = ChannelFiles(config.image_prefix, config.channel_suffixes or [config.image_suffix])
        self.maps = ClassFiles(config.label_prefix, config.class_suffixes or [config.label_suffix])
        first = 0 if self.excludes else 1
        self.numbers = config.numbers or list(range(first, first + spec.num_classes))
        if len(set(self.numbers)) != spec.num_classes:
            raise DataError(
                f"data set `{spec.name}` has {spec.num_classes} classes, but the numbers {self.numbers}",
                hint="give `numbers` one number for each class",
            )

    # ---- finding cases

    @cached_property
    def _found(self) -> tuple[dict[str, Case], list[Finding]]:
        config = self.config
        images, labels = existing(self.root, config.image_folder), existing(self.root, config.label_folder)
        channels = self.channels.by_channel(self._files("image", self.channels))
        parts = self.maps.by_channel(self._files("label", self.maps, self.maps.folders))
        every = {path for files in (*channels.values(), *parts.values()) for paths in files.values() for path in paths}
        taken: set[Path] = set()
        if images.resolve() == labels.resolve() and (any(self.maps.suffixes) or config.label_prefix):
            taken = {path for maps in parts.values() for paths in maps.values() for path in paths}  # told by affixes
        channels, parts = self._kept(channels, taken), self._included(parts)
        there, lacking = self.channels.complete(channels)
        findings = [*lacking, *(finding for files in channels.values() for finding in doubles(files, "image"))]
        findings += [finding for maps in parts.values() for finding in doubles(maps, "label map")]
        known = {key for files in channels.values() for key in files}
        maps, of_classes = first_and_all(parts, several=bool(config.class_suffixes))
        if images != labels or config.class_suffixes:
            findings += [extra_label(path, images) for key, path in maps.items() if key not in known]
        cases = {
            key: Case(key, first, maps.get(key), others=tuple(others), class_files=of_classes.get(key, ()))
            for key, (first, *others) in there.items()
        }
        findings += lacking_classes(list(cases.values()), config)
        if config.class_suffixes:
            place = config.label_folder
            findings += unnamed_files(self.root, place, self.maps, config.extensions, every, config.exclude)
        for case in cases.values():
            if case.label is None:
                expected = labels / f"{config.label_prefix}{case.id}{self.maps.suffixes[0]}.*"
                message = f"image `{case.image}` has no label map (looked for `{expected}`)"
                hint = "add the label map, or remove the image"
                findings.append(Finding("missing_label", "error", case.image, message, hint))
        if images.resolve() != labels.resolve() and not for_each_case(f"{images}{labels}"):
            read = config.extensions
            findings += unread(images, self.channels.suffixes, read)
            findings += unread(labels, [""] if config.class_suffixes else [config.label_suffix], read)
        if not cases:
            hint = f"files end in {', '.join(config.extensions)}; `image_folder` is a key"
            findings.append(Finding("empty_split", "error", images, f"no images in `{images}`", hint))
        return cases, findings

    def _files(self, kind: str, channels: ChannelFiles, folders: Sequence[str] = ("",)) -> Files:
        """Find the files of all channels by the name of their case; `kind` is image or label."""
        found: Files = {}
        for inner in folders:
            pattern = str(Path(getattr(self.config, f"{kind}_folder"), inner))
            files = partial(self._files_in, kind=kind, channels=channels, inner=inner)
            if for_each_case(pattern) and self.root.is_dir():
                there = files_of_cases(self.root, pattern, files, whole=self._whole)
            else:
                there = files(existing(self.root, pattern))
            for key, paths in there.items():
                found.setdefault(key, []).extend(paths)
        return found

    @property
    def _whole(self) -> bool:
        return share_stars(self.config.image_folder, self.config.label_folder)

    def _files_in(self, folder: Path, kind: str, channels: ChannelFiles, inner: str) -> Files:
        """Find the files of the channels in one folder by their stem without prefix and suffix."""
        if not folder.is_dir():
            what = {"image": "images", "label": "label maps"}[kind]
            missing = self.missing_root()
            raise missing or DataError(
                f"no folder `{folder}` with the {what}",
                hint=f"set `dataset.paths.root`, or the folder's name with `dataset.{kind}_folder`"
                + folders_in(folder.parent),
            )
        return channels.of_folder(folder, self.config.extensions, inner)

    def _kept(self, channels: dict[str, Files], taken: set[Path]) -> dict[str, Files]:
        """Leave out label maps, and what `exclude` names.

        Raises:
            DataError: A pattern of `exclude` fits no case.
        """
        found = {
            suffix: {name: kept for name, each in files.items() if (kept := [p for p in each if p not in taken])}
            for suffix, files in channels.items()
        }
        names = {name for files in found.values() for name in files}
        for pattern in self.config.exclude:
            if not any(fits(name, [pattern]) for name in names):
                raise DataError(f"`exclude` names `{pattern}`, which fits no case", hint="correct it, or remove it")
        return self._included(found)

    def _included(self, files: dict[str, Files]) -> dict[str, Files]:
        """Leave out the names that `exclude` names."""
        return {
            suffix: {name: paths for name, paths in each.items() if not fits(name, self.config.exclude)}
            for suffix, each in files.items()
        }

    @cached_method
    def division(self, *, fresh: bool = False) -> Division:
        """Return how the cases were split."""
        return divide(list(self._found[0]), self.config.split, self.root, fresh=fresh)

    def has(self, split: str) -> bool:
        """Tell whether the data set has this split: named, drawn, or in the split file."""
        return self.config.split.gives(split, self.division)

    def cases(self, split: str) -> list[Case]:
        """Find the cases of a split, each with its label map."""
        cases = self.all_cases(split)
        headers = (finding for case in cases for finding in header_faults(case, self._header))
        raise_on_error([*self._findings(split), *headers])
        return cases

    def all_cases(self, split: str) -> list[Case]:
        """Find the cases of a split, including those without a label map."""
        side = set(self.division().sides[split])
        return [case for name, case in self._found[0].items() if name in side]

    def _findings(self, split: str) -> list[Finding]:
        """Find missing files of a split, and faults of the whole data set."""
        mine = {case.image for case in self.all_cases(split)}
        known = {case.image for case in self._found[0].values()}
        findings = [finding for finding in self._found[1] if finding.file in mine or finding.file not in known]
        if not mine:
            message = f"split `{split}` is empty: no case of `{self.root / self.config.image_folder}` belongs to it"
            findings.append(Finding("empty_split", "error", self.root, message, "correct `split` in the data-set file"))
        return findings

    # ---- reading

    def size(self, case: Case) -> tuple[int, ...]:
        """Read the size from the header."""
        return self._header(case.image).size

    def spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the spacing of the data-set file, or else of the header."""
        return self.stated_spacing or self._header(case.image).spacing

    @cached_method
    def _header(self, path: Path) -> Header:
        return read_header(path, 3)

    def read(self, case: Case) -> Sample:
        """Read an image and its masks."""
        with open_joined(case.images, 3) as picture:
            image = self.image(picture.read(), str(case.image))
        if case.label is None:
            return Sample(image)
        if not case.class_files:
            return Sample(image, self._maps(self._labels(case.label, case, image.shape[:3])))
        files, size = case.class_files, image.shape[:3]
        parts = (None if each is None else (each, self._labels(each, case, size)) for each in files)
        return Sample(image, self._maps(joined(parts, len(files), self.config.class_overlap)))

    def opened(self, path: Path, index: int | None = None) -> Picture:
        """Open a volume to predict; the files of its other channels lie beside it."""
        return super().opened(path, index) if index is not None else open_joined(self.channels.beside(path), 3)

    def leading(self, files: Sequence[Path]) -> list[Path]:
        """Return the file of the first channel of each volume, without label maps beside it."""
        if self.config.image_folder == self.config.label_folder:
            files = without_masks(files, self.channels.name, self.maps.name)
        return self.channels.leading(files)

    def inputs(self, path: Path) -> list[Case]:
        """Name the case in a file without the suffix of its channel."""
        return [replace(case, id=self._name_of(path) or case.id) for case in super().inputs(path)]

    def shown(self, case: Case) -> str:
        """Name a case for tables; files of cases with folders may all have one name."""
        return case.id if self._name_of(case.image) else super().shown(case)

    def answer_path(self, folder: Path, path: Path) -> Path:
        """Name the prediction after the case if its files have longer or equal names."""
        name = self._name_of(path)
        written = Path(answer_name(path, 3))
        return super().answer_path(folder, path) if name is None else folder / safe_name(f"{name}{ending_of(written)}")

    def _name_of(self, path: Path) -> str | None:
        """Name the case of a file if it has several files or a folder of its own; else None."""
        found = self.channels.key(path)
        pattern = Path(self.config.image_folder)
        has_folder = for_each_case(str(pattern)) and len(path.absolute().parts) > len(pattern.parts)
        if found is None or not (has_folder or self.channels.are_several):
            return None
        if has_folder and (not found[0] or path.absolute().is_relative_to(self.root.absolute())):
            own = path.absolute().parent.parts[-len(pattern.parts) :]
            parts = ((part, composed(name)) for name, part in zip(own, pattern.parts, strict=True))
            stars = [place_name(part, name, whole=self._whole) for part, name in parts if for_each_case(part)]
            return case_name("/".join(stars).strip("/"), found[0])
        return found[0] or None

    def _labels(self, path: Path, case: Case, size: tuple[int, ...]) -> Array:
        """Read integers `(*S)`, each the number of a class or 0; of the file of a single class, where it is.

        Raises:
            DataError: They cannot be read, do not fit the image, or are of no class.
        """
        stored = read_voxels(path, labels=True)
        if stored.shape[-1] != 1:
            raise DataError(f"label map `{path}` has {stored.shape[-1]} channels", hint="write one number per voxel")
        labels = whole(stored[..., 0], f"label map `{path}`")
        if case.class_files:
            labels = marked(labels, path)
        else:
            labels = labels if labels.dtype == np.uint8 else labels.astype(np.int64)
            if self.config.other_labels == "error":
                refuse_unknown(labels, path, self.numbers, excludes=self.excludes)
        if labels.shape != size:
            raise DataError(differ(path, labels.shape, case.image, size), hint=SAME_SIZE)
        raise_on_error(placement(path, self._header(path), case.image, self._header(case.image)))
        return labels

    def _maps(self, labels: Array) -> dict[str, Array]:
        if not self.excludes:
            return {"mask": channels_last([labels == number for number in self.numbers])}
        table = np.full(int(max(labels.max(), *self.numbers)) + 1, 255, np.uint8)
        table[self.numbers] = np.arange(len(self.numbers))
        mask = table[np.maximum(labels, 0)]
        valid = mask != 255
        return {"mask": mask * valid, "valid": valid.astype(np.uint8)}

    def labels(self, answer: Array) -> Array:
        """Write the numbers of the structures, like the label maps of the data set."""
        numbers = np.array(self.numbers)
        if answer.ndim == 4:
            numbers, answer = np.array([0, *self.numbers]), super().labels(answer)
        return numbers.astype(np.uint8 if numbers.max() <= 255 else np.uint16)[answer]

    # ---- checks

    def turned_alike(self, case: Case, sample: Sample) -> OtherTurn | None:
        """Turn a label map by the affine of its image in place of its own."""
        return turned_as_image(case, sample, self._header)

    def inspect(self, split: str) -> Iterator[Finding]:
        """Find missing partners, and faults of sizes and spacings, from the headers."""
        try:
            cases, findings = self.all_cases(split), self._findings(split)
        except DataError as error:
            yield unusable_split("missing_folder", self.root, error)
            return
        yield from findings
        for case in cases:
            yield from header_faults(case, self._header)
