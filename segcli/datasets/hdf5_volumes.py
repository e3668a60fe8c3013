"""Volumes in HDF5 files: `metadata.json` beside `train.h5`, `val.h5` and, optionally, `test.h5`.

A file has `images [N, *S]` or `[N, C, *S]`, `masks [N, K, *S]`, `presence_labels [N, K]` and, optionally,
`scenarios [N]` and `case_ids [N]`. Samples are read one by one.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from segcli.core.cached import cached_method
from segcli.core.errors import DataError
from segcli.core.files import shown, write_text
from segcli.core.types import Array
from segcli.data.channels import chosen_count, more_channels_hint
from segcli.data.checks import Finding, raise_on_error
from segcli.data.classes.class_list import Mistake
from segcli.data.classes.coding import Codings
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.structures import channels_last
from segcli.data.whole_numbers import whole
from segcli.datasets._hdf5_faults import NEEDED, content_faults, shapes_in
from segcli.datasets._small import COUNTS, volume
from segcli.datasets._volumes import (
    VolumeKeys,
    Volumes,
    flags_against,
    metadata,
)
from segcli.files._hdf5_content import numbers_in, strings_in
from segcli.files.hdf5 import HDF5

__all__ = ["HDF5Volumes"]


@dataclass(frozen=True)
class _Header:
    """Holds shapes, names and scenarios of a file, without reading a case."""

    shapes: dict[str, tuple[int, ...]]
    names: list[str]
    scenarios: list[str | None]
    unused_names: str | None
    """Why `case_ids` are not used; None if they are, or if there are none."""

    @property
    def size(self) -> tuple[int, ...]:
        """Return the size of each volume."""
        return self.shapes["images"][-3:]


class HDF5Volumes(Volumes):
    """Reads files of many volumes with organs or other structures, each present or absent."""

    class Config(VolumeKeys):
        """Defines the keys of `format: hdf5_volumes`."""

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Complete structures and spacing from `metadata.json`, channels from `train.h5`, unless they are stated."""
        paths = values.get("paths")
        root = paths.get("root") if isinstance(paths, dict) else None
        changes: dict[str, Any] = {}
        try:
            about = metadata(Path(root) if isinstance(root, str | Path) else None)
        except DataError as error:
            if not values.get("classes"):
                return {}, [("classes", error.message, error.hint)]
            about = {}  # a warning of `inspect`
        names = about.get("structure_names")
        if not values.get("classes") and isinstance(names, list) and names:
            changes["classes"] = [{"name": str(name)} for name in names]
        classes = values.get("classes") or changes.get("classes")
        if isinstance(classes, list):
            if values.get("num_classes", len(classes)) != len(classes):
                message = f"is {values['num_classes']}, but there are {len(classes)} structures"
                return {}, [("num_classes", message, "remove `num_classes`: it follows from the structures")]
            changes["num_classes"] = len(classes)
        if "spacing_mm" not in values and isinstance(about.get("spacing_mm"), list):
            changes["spacing_mm"] = [float(value) for value in about["spacing_mm"]]
        if "num_channels" not in values:
            changes["num_channels"] = _channels(Path(root) / "train.h5") if isinstance(root, str | Path) else 1
        return changes, []

    @classmethod
    def write_small(cls, root: Path) -> dict[str, Any]:
        """Write a file for each split, with two structures and three channels."""
        for number, (split, count) in enumerate(COUNTS.items()):
            cases = [volume(1000 * number + index) for index in range(count)]
            with h5py.File(root / f"{split}.h5", "w") as file:
                file["images"] = np.stack([np.stack([image] * 3) for image, _ in cases])
                file["masks"] = np.stack([masks for _, masks in cases])
                file["presence_labels"] = file["masks"][:].reshape(count, 2, -1).max(2)
        about = {"structure_names": ["left", "right"], "num_structures": 2, "spacing_mm": [2.0, 1.0, 3.0]}
        write_text(root / "metadata.json", json.dumps({**about, "image_size": [16, 16, 8]}))
        return {}

    @classmethod
    def elsewhere(cls, values: dict[str, Any], place: Path) -> dict[str, Any]:
        """Take all volumes of a file, or of the only file in a folder; `metadata.json` beside it sets the spacing."""
        files = [path for path in sorted(place.iterdir()) if path.suffix in HDF5.endings] if place.is_dir() else [place]
        if len(files) != 1:
            count = f"{len(files)} HDF5 files, such as `{files[0].name}`" if files else "no HDF5 file"
            raise DataError(f"`{shown(place)}` has {count}", hint="name one file" if files else "name an HDF5 file")
        file = files[0]
        about, names = metadata(file.parent), [each["name"] for each in values["classes"]]
        given = about.get("structure_names")
        if isinstance(given, list) and names and list(map(str, given)) != names:
            raise DataError(
                f"`{shown(file.parent / 'metadata.json')}` names the structures {', '.join(map(str, given))}, but the "
                f"run learned {', '.join(names)}",
                hint="write the masks in the order of the run's structures",
            )
        spacing = about.get("spacing_mm")
        stated = {"spacing_mm": spacing} if isinstance(spacing, list) else {}
        places = {"paths": {"root": file.parent, "test": file}, "fold": None, "sample": None}
        return {**values, **places, **stated}

    def __init__(self, config: Config, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self._headers: dict[str, _Header] = {}
        self.codings = Codings()

    @cached_property
    def files(self) -> dict[str, HDF5]:
        """Return the file of each split; an exported network never needs them."""
        return {split: HDF5(self._path(split)) for split in ("train", "val", "test")}

    @cached_property
    def _split_of(self) -> dict[Path, str]:
        return {file.path: split for split, file in self.files.items()}

    def _path(self, split: str) -> Path:
        given: Path | None = getattr(self.spec.paths, split)
        return self.root / f"{split}.h5" if given is None else Path(shown(given))

    def has(self, split: str) -> bool:
        """Tell whether the file of a split exists or is stated."""
        return split == "train" or getattr(self.spec.paths, split) is not None or self.files[split].path.is_file()

    # ---- headers

    def _header(self, split: str) -> _Header:
        """Read the header of the file of a split, once.

        Raises:
            DataError: The file cannot be read, or lacks a dataset.
        """
        if split not in self._headers:
            missing = self.missing_root()
            if missing is not None:
                raise missing
            path = self.files[split].path
            if not path.exists():
                raise DataError(
                    f"no file `{path}`", hint=f"set `dataset.paths.root`, or the file with `dataset.paths.{split}`"
                )
            with self.files[split].reading() as file:
                shapes = shapes_in(file, path)
                count = shapes["images"][0] if shapes["images"] else 0
                counts = {shape[0] if shape else 0 for shape in shapes.values()}  # several are told as such
                scenarios = strings_in(file, path, "scenarios", count) if len(counts) == 1 else None
                absent: list[str | None] = [None] * count
                names, unused = HDF5.names_in(file, count), HDF5.fault_of_names(file, count)
                self._headers[split] = _Header(shapes, names, list(absent if scenarios is None else scenarios), unused)
        return self._headers[split]

    def _misfits(self, split: str, header: _Header) -> Iterator[Finding]:
        """Find shapes that do not fit each other or the metadata."""
        path, shapes = self.files[split].path, header.shapes
        sizes = {key: "x".join(map(str, shape)) or "a single value" for key, shape in shapes.items()}

        def wrong(code: str, message: str, hint: str) -> Finding:
            return Finding(code, "error", path, message, hint)

        images, masks, flags = (shapes[key] for key in NEEDED)
        if len(images) not in (4, 5) or len(masks) != 5 or len(flags) != 2:
            message = f"`{path}`: `images` are {sizes['images']}, `masks` {sizes['masks']}, `presence_labels` "
            yield wrong("wrong_axes", message + sizes["presence_labels"], "they must have 4 (or 5), 5 and 2 axes")
            return
        if 0 in images[1:]:
            hint = "write the volumes again, or leave the file out"
            yield wrong("no_pixels", f"`{path}` holds no pixels: `images` are {sizes['images']}", hint)
            return
        if not len(header.names):
            yield wrong("empty_split", f"split `{split}` is empty: `{path}` has no cases", "add cases")
        if images[0] != masks[0] or images[0] != flags[0]:
            message = f"`{path}` has {images[0]} images, {masks[0]} masks and {flags[0]} presence flags"
            yield wrong("wrong_count", message, "write one of each for every case")
        last = [
            key
            for key, shape, size in (("images", images, masks[2:]), ("masks", masks, images[-3:]))
            if len(shape) == 5 and images[-3:] != masks[2:] and shape[1:4] == size
        ]
        if last:
            message = f"`{path}`: `images` are {sizes['images']}, `masks` {sizes['masks']}: `{last[0]}` have their "
            message += "channels last" if last[0] == "images" else "structures last"
            yield wrong("wrong_axes", message, f"write them second, such as with `numpy.moveaxis({last[0]}, -1, 1)`")
            return
        if images[-3:] != masks[2:]:
            message = f"`{path}`: `images` are {sizes['images']}, `masks` {sizes['masks']}: their sizes differ"
            yield wrong("size_mismatch", message, "write the masks at the size of the images")
        count, stated = len(self.names), self._about.get("num_structures")
        if stated is not None and stated != masks[1]:
            message = (
                f"`{self.root / 'metadata.json'}` says `num_structures: {stated}`, but `{path}` has {masks[1]} masks"
            )
            yield wrong("wrong_num_structures", f"{message} per case", "correct `num_structures` and `structure_names`")
        elif masks[1] != count or flags[1] != count:
            message = f"`{path}` has {masks[1]} masks and {flags[1]} presence flags per case, but there are {count} "
            yield wrong("wrong_num_structures", message + "structures", "correct `structure_names` in `metadata.json`")
        try:
            channels = chosen_count(1 if len(images) == 4 else images[1], self.spec.channels, f"`{path}`")
        except DataError as error:
            yield wrong("wrong_channels", error.message, error.hint or "")
            return
        if channels != self.spec.num_channels:
            message = (
                f"`{path}` has {channels} channels, but the data set states `num_channels: {self.spec.num_channels}`"
            )
            yield wrong("wrong_channels", message, more_channels_hint(channels, self.spec.num_channels))

    @property
    def _about(self) -> dict[str, Any]:
        """Return `metadata.json`; empty if it cannot be read, which `inspect` reports."""
        try:
            return metadata(self.root)
        except DataError:
            return {}

    def _faults(self, split: str, header: _Header) -> Iterator[Finding]:
        """Find shapes that do not fit; if all fit, find missing and implausible values."""
        misfits = list(self._misfits(split, header))
        yield from misfits
        if not misfits:
            path = self.files[split].path
            if not path.exists():
                raise DataError(
                    f"no file `{path}`", hint=f"set `dataset.paths.root`, or the file with `dataset.paths.{split}`"
                )
            with self.files[split].reading() as file:
                yield from content_faults(file, path, header.names, self.names)
            if header.unused_names is not None:
                hint = "write a name of its own for each case; the cases are numbered"
                yield Finding("unused_names", "warning", path, header.unused_names, hint)

    # ---- cases

    def cases(self, split: str) -> list[Case]:
        """Find all cases of the file, in their order."""
        return self.all_cases(split)

    @cached_method
    def all_cases(self, split: str) -> list[Case]:
        """Find all cases of the file, in their order."""
        header, path = self._header(split), self.files[split].path
        raise_on_error(self._faults(split, header))
        together = zip(header.names, header.scenarios, strict=True)
        return [Case(name, path, index=index, group=group) for index, (name, group) in enumerate(together)]

    def shown(self, case: Case) -> str:
        """Name the case; its file holds many cases."""
        return case.id

    def size(self, case: Case) -> tuple[int, ...]:
        """Return the common size of all cases of the file."""
        return self._header(self._split_of[case.image]).size

    def read(self, case: Case) -> Sample:
        """Read one volume and its masks, without the rest of the file."""
        assert case.index is not None  # `all_cases` numbers them
        voxels, stored = self.files[self._split_of[case.image]].rows(("images", "masks"), case.index)
        image = self.image(_channels_last(voxels), case.place)
        masks, top = _masks(stored, case)
        if masks.dtype != bool:  # one bit per pixel has only one coding
            self.codings.note(Path(case.place), top)
        # bytes of 0 and 1 are truth values as they are
        truth = masks.view(bool) if masks.dtype == np.uint8 and top <= 1 else masks > 0
        return Sample(image, {"mask": channels_last(list(truth))})

    # ---- checks

    def compared(self, splits: Sequence[str]) -> Iterator[Finding]:
        """Report masks that store the foreground in different ways."""
        yield from self.codings.findings()

    def inspect(self, split: str) -> Iterator[Finding]:
        """Find faults of the file, of `metadata.json`, and presence flags that contradict their masks."""
        path = self.files[split].path
        try:
            faults = list(self._faults(split, self._header(split)))
            yield from faults
            if not any(fault.severity == "error" for fault in faults):
                yield from self._inspect_metadata(split)
                yield from self._inspect_flags(split, self.all_cases(split))
        except DataError as error:
            yield Finding("unreadable_file", "error", path, error.message, error.hint or "")

    def _inspect_metadata(self, split: str) -> Iterator[Finding]:
        file = self.root / "metadata.json"
        hint = "write a file with `structure_names`, `num_structures` and `image_size`"
        try:
            about = metadata(self.root)
        except DataError as error:
            yield Finding("no_metadata", "warning", file, error.message, error.hint or hint)
            return
        if not about:
            yield Finding(
                "no_metadata", "warning", file, f"`{file}` is {'empty' if file.exists() else 'missing'}", hint
            )
            return
        names = about.get("structure_names")
        if isinstance(names, list) and about.get("num_structures", len(names)) != len(names):
            message = f"`{file}` says `num_structures: {about['num_structures']}`, but names {len(names)} structures"
            yield Finding("wrong_num_structures", "error", file, message, "correct one of the two")
        size, found = about.get("image_size"), list(self._header(split).size)
        if size is not None and size != found:
            message = f"`{file}` says `image_size: {size}`, but `{self.files[split].path}` has volumes of {found}"
            yield Finding(
                "wrong_image_size", "warning", file, message, "correct `image_size`; the size in the file is used"
            )

    def _inspect_flags(self, split: str, cases: list[Case]) -> Iterator[Finding]:
        with self.files[split].reading() as file:
            flags, masks = file["presence_labels"][:], file["masks"]
            yield from flags_against(flags, (_masks(masks[case.index], case)[0] for case in cases), self.names, cases)


def _masks(stored: Array, case: Case) -> tuple[Array, int]:
    """Return the masks of a case and their largest number; check that they hold 0 and 1, or 0 and 255.

    Raises:
        DataError: They hold other numbers.
    """
    masks = whole(stored, f"mask of `{case.place}`")
    top = int(masks.max(initial=0))
    if top > 1 or (masks.dtype.kind == "i" and masks.min(initial=0) < 0):
        values = np.unique(masks)
        if not set(values.tolist()) <= {0, 1, 255} or set(values.tolist()) >= {1, 255}:
            shown = ", ".join(f"{value:g}" for value in values[:5])
            raise DataError(
                f"the masks of `{case.place}` hold {shown}, but a mask holds 0 and 1",
                hint="write the masks as 0 and 1",
            )
    return masks, top


def _channels_last(voxels: Array) -> Array:
    """Turn `(*S)` or `(C, *S)` into `(*S, C)`."""
    return voxels[..., None] if voxels.ndim == 3 else np.moveaxis(voxels, 0, -1)


def _channels(path: Path) -> int:
    """Read the channels of the images in a file; 1 if it cannot be read, which a later check reports."""
    try:
        with HDF5(path).reading() as file:
            images, masks = numbers_in(file, path, "images"), numbers_in(file, path, "masks")
            if images is None or len(images.shape) != 5:
                return 1
            is_last = masks is not None and images.shape[1:4] == masks.shape[2:] != images.shape[2:]
            return max(int(images.shape[-1 if is_last else 1]), 1)
    except DataError:
        return 1
