"""Volumes in NIfTI files: `imagesTr/case_001.nii.gz` with label maps `labelsTr/case_001.nii.gz` of the same stems.

A label map holds the number of a structure in each voxel. Sizes and spacings may differ from case to case; axes are
brought into one order (left to right, back to front, bottom to top). Reading needs the extra `medical`.
"""

from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from segcli.core.errors import DataError
from segcli.core.names import composed, existing, without_affixes
from segcli.core.types import Array
from segcli.data.checks import Finding, doubles, extra_label, raise_on_error, unusable_split
from segcli.data.classes.class_list import Mistake
from segcli.data.classes.counts import values_of
from segcli.data.faults.orientation import OtherTurn
from segcli.data.images import natural_key, read_voxels
from segcli.data.placement import HINT, placement, unusual
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.split_settings import ShareSettings
from segcli.data.splits import Division, divide
from segcli.data.structures import channels_last
from segcli.data.whole_numbers import whole
from segcli.datasets._small import COUNTS, volume
from segcli.datasets._volumes import VolumeKeys, Volumes, decathlon_names
from segcli.files import Header, create, ending_of, other_volume, read_header
from segcli.files.nifti import NIfTI

__all__ = ["NIfTIVolumes"]


class NIfTIVolumes(Volumes):
    """Reads medical volumes of any size: one file with one label map per case."""

    class Config(VolumeKeys):
        """Defines the keys of `format: nifti_volumes`."""

        image_folder: str = "imagesTr"
        """Folder of the images, in `paths.root`."""
        label_folder: str = "labelsTr"
        """Folder of the label maps."""
        image_prefix: str = ""
        """Begin of the stem of an image that its label map does not have."""
        label_prefix: str = ""
        """Begin of the stem of a label map, such as `seg_`."""
        image_suffix: str = ""
        """End of the stem of an image that its label map does not have, such as `_0000`."""
        label_suffix: str = ""
        """End of the stem of a label map, such as `_seg`."""
        numbers: list[Annotated[int, Field(ge=0, le=65535)]] | None = None
        """Number of each of `classes` in the label maps; default: 1, 2, 3 and so on, or 0, 1, 2 and so on if classes
        exclude each other (`task: multiclass`)."""
        other_labels: Literal["error", "ignore"] = "error"
        """Decides what to do with numbers that belong to no class. `error`: refuse the case. `ignore`: treat them as
        background (with `task: multiclass`, leave the voxels out)."""
        split: ShareSettings = ShareSettings()
        """Split of the cases into training, validation and test: names, or shares such as `{val: 0.2}`."""

    keeps_split = True

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Complete the structures from `numbers` or from the Decathlon's `dataset.json`, where they are not stated."""
        changes: dict[str, Any] = {}
        classes, numbers = values.get("classes"), values.get("numbers")
        if not classes and isinstance(numbers, list) and numbers:
            classes = changes["classes"] = [{"name": f"label {number}"} for number in numbers]
        if not classes and "num_classes" not in values:
            try:
                found = _decathlon(values.get("paths"), background=values.get("task") == "multiclass")
            except DataError as error:
                return {}, [("classes", error.message, error.hint)]
            if found:
                numbers = changes["numbers"] = list(found)
                classes = changes["classes"] = [{"name": name} for name in found.values()]
        if isinstance(classes, list) and classes:
            if values.get("num_classes", len(classes)) != len(classes):
                message = f"is {values['num_classes']}, but there are {len(classes)} structures"
                return {}, [("num_classes", message, "remove `num_classes`: it follows from the structures")]
            if isinstance(numbers, list) and len(numbers) != len(classes):
                message = f"has {len(numbers)} numbers for {len(classes)} classes"
                return {}, [("numbers", message, "give one number for each of `classes`, in their order")]
            changes["num_classes"] = len(classes)
        if "num_channels" not in values:
            changes["num_channels"] = 1
        return changes, []

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
        there = self._files(images, "image")
        maps = self._files(labels, "label")
        if images.resolve() == labels.resolve():  # then only suffixes distinguish them
            taken = (
                {path for paths in maps.values() for path in paths}
                if config.label_suffix or config.label_prefix
                else set()
            )
            there = {key: [path for path in paths if path not in taken] for key, paths in there.items()}
        there = {key: paths for key, paths in there.items() if paths}
        findings = [*doubles(there, "image"), *doubles(maps, "label map")]
        findings += [
            extra_label(paths[0], images) for key, paths in maps.items() if key not in there and images != labels
        ]
        cases = {key: Case(key, paths[0], maps.get(key, [None])[0]) for key, paths in there.items()}
        for case in cases.values():
            if case.label is None:
                expected = labels / f"{config.label_prefix}{case.id}{config.label_suffix}.*"
                message = f"image `{case.image}` has no label map (looked for `{expected}`)"
                findings.append(
                    Finding("missing_label", "error", case.image, message, "add the label map, or remove the image")
                )
        if images.resolve() != labels.resolve():
            findings += [*_unread(images, config.image_suffix), *_unread(labels, config.label_suffix)]
        if not cases:
            message, hint = (
                f"no images in `{images}`",
                f"files end in {', '.join(NIfTI.endings)}; `image_folder` is a key",
            )
            findings.append(Finding("empty_split", "error", images, message, hint))
        return cases, findings

    def _files(self, folder: Path, kind: str) -> dict[str, list[Path]]:
        """Find the files of a folder by their stem without prefix and suffix; `kind` is image or label."""
        if not folder.is_dir():
            what = {"image": "images", "label": "label maps"}[kind]
            missing = self.missing_root()
            raise missing or DataError(
                f"no folder `{folder}` with the {what}",
                hint=f"set `dataset.paths.root`, or the folder's name with `dataset.{kind}_folder`",
            )
        prefix, suffix = getattr(self.config, f"{kind}_prefix"), getattr(self.config, f"{kind}_suffix")
        found: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir(), key=natural_key):
            if ending_of(path) in NIfTI.endings and not path.name.startswith("."):
                key = without_affixes(composed(_stem(path)), prefix, [suffix])
                if key is not None:
                    found.setdefault(key, []).append(path)
        return found

    @cache  # noqa: B019 - a layout lives as long as its run
    def division(self, *, fresh: bool = False) -> Division:
        """Return how the cases were split."""
        return divide(list(self._found[0]), self.config.split, self.root, fresh=fresh)

    def has(self, split: str) -> bool:
        """Tell whether the data set has this split: named, drawn, or in the split file."""
        return self.config.split.gives(split, self.division)

    def cases(self, split: str) -> list[Case]:
        """Find the cases of a split, each with its label map."""
        cases = self.all_cases(split)
        headers = (finding for case in cases for finding in self._inspect_headers(case))
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

    @cache  # noqa: B019 - a layout lives as long as its run
    def _header(self, path: Path) -> Header:
        return read_header(path, 3)

    def read(self, case: Case) -> Sample:
        """Read an image and its masks."""
        image = self.image(read_voxels(case.image), str(case.image))
        if case.label is None:
            return Sample(image)
        labels = self._labels(case.label)
        if labels.shape != image.shape[:3]:
            raise DataError(_differ(case.label, labels.shape, case.image, image.shape[:3]), hint=SAME_SIZE)
        raise_on_error(placement(case.label, self._header(case.label), case.image, self._header(case.image)))
        return Sample(image, self._maps(labels))

    def _labels(self, path: Path) -> Array:
        """Read integers `(*S)`, each the number of a class or 0."""
        stored = read_voxels(path, labels=True)
        if stored.shape[-1] != 1:
            raise DataError(f"label map `{path}` has {stored.shape[-1]} channels", hint="write one number per voxel")
        labels = whole(stored[..., 0], f"label map `{path}`")
        labels = labels if labels.dtype == np.uint8 else labels.astype(np.int64)
        if self.config.other_labels == "error":
            values, counts = values_of(labels)
            strange = ~np.isin(values, [0, *self.numbers])
            if self.excludes:
                strange = ~np.isin(values, self.numbers)
            if strange.any():
                pairs = list(zip(values[strange], counts[strange], strict=True))
                shown = ", ".join(f"{value} ({count} voxels)" for value, count in pairs[:5])
                more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
                raise DataError(
                    f"label map `{path}` holds numbers that belong to no class: {shown}{more}",
                    hint=f"numbers of the classes: {', '.join(map(str, self.numbers[:12]))}; add the class, or set "
                    "`other_labels: ignore`",
                )
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
        if case.label is None or "mask" not in sample.maps:
            return None
        ours, others = self._header(case.label).grid, self._header(case.image).grid
        if ours is None or others is None or (ours.axes, ours.flips) == (others.axes, others.flips):
            return None
        mask = np.ascontiguousarray(others.as_read(ours.as_stored(sample.maps["mask"])))
        if mask.shape != sample.maps["mask"].shape:
            return None
        words = f"label map `{case.label}` has {ours.words}, its image `{case.image}` {others.words}"
        return OtherTurn(mask, words, HINT, is_usual=True)

    def inspect(self, split: str) -> Iterator[Finding]:
        """Find missing partners, and faults of sizes and spacings, from the headers."""
        try:
            cases, findings = self.all_cases(split), self._findings(split)
        except DataError as error:
            yield unusable_split("missing_folder", self.root, error)
            return
        yield from findings
        for case in cases:
            yield from self._inspect_headers(case)

    def _inspect_headers(self, case: Case) -> Iterator[Finding]:
        headers = []
        for kind, path in (("image", case.image), ("label", case.label)):
            try:
                if path is not None:
                    headers.append(self._header(path))
                    yield from unusual(path, headers[-1])
            except DataError as error:
                yield Finding(f"unreadable_{kind}", "error", path, error.message, error.hint or "")
        if len(headers) < 2 or case.label is None:
            return
        image, label = headers
        if image.size != label.size:
            message = _differ(case.label, label.size, case.image, image.size)
            yield Finding("size_mismatch", "error", case.label, message, SAME_SIZE, (case.image,))
        yield from placement(case.label, label, case.image, image)


def _unread(folder: Path, suffix: str) -> Iterator[Finding]:
    """Report volumes that are passed over."""
    names = [path for path in sorted(folder.iterdir(), key=natural_key) if not path.name.startswith(".")]
    other = [path for path in names if other_volume(path)]
    if other:
        message = f"`{folder}` holds {len(other)} files of a format that is not read, such as `{other[0].name}`"
        yield Finding("unread_files", "warning", folder, message, other_volume(other[0]) or "")
    rest = [path for path in names if ending_of(path) in NIfTI.endings and not _stem(path).endswith(suffix)]
    if rest:
        message = f"`{folder}` holds {len(rest)} files without the suffix `{suffix}`, such as `{rest[0].name}`"
        hint = "they are not read: a case has one image, with its channels along the fourth axis"
        yield Finding("unread_files", "warning", folder, message, hint)


def _stem(path: Path) -> str:
    return path.name[: -len(ending_of(path))]


SAME_SIZE = "export the label map at the size of its image"


def _differ(label: Path, size: tuple[int, ...], image: Path, image_size: tuple[int, ...]) -> str:
    sizes = ["x".join(map(str, each)) for each in (size, image_size)]
    return f"`{label}` has {sizes[0]} voxels, but its image `{image}` has {sizes[1]}"


def _decathlon(paths: Any, *, background: bool) -> dict[int, str]:
    """Read names by number from the `dataset.json` of the Medical Segmentation Decathlon.

    Raises:
        DataError: The file is not JSON.
    """
    root = paths.get("root") if isinstance(paths, dict) else None
    if not isinstance(root, str | Path):
        return {}
    return {number: name for number, name in sorted(decathlon_names(Path(root)).items()) if background or number}
