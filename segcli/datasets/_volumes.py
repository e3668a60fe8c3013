"""Common part of layouts of volumes: several structures per case; predictions keep the format of their input."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from segcli.core.errors import DataError
from segcli.core.files import put_in_place, remove_leftovers, shown, told_when_full, unfinished
from segcli.core.names import printable, safe_name
from segcli.core.text import read_json
from segcli.core.types import Array, ConfigModel, Range
from segcli.data.channels import chosen_of, more_channels_hint
from segcli.data.checks import Finding
from segcli.data.classes.class_list import class_names
from segcli.data.clipping import without_details
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.datasets import Layout
from segcli.files import Add, answer_name, create, ending_of, format_of, read_header, stem_of
from segcli.files.hdf5 import HDF5

__all__ = ["Spacing", "VolumeKeys", "Volumes", "decathlon_names", "flags_against", "metadata"]

Spacing = Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=3, max_length=3)]


class VolumeKeys(ConfigModel):
    """Defines the keys of every format of volumes."""

    intensity_range: Range | None = None
    """Stored values that become 0 and 1; values outside are clipped. Example: `[-160, 240]` for soft tissue in CT."""
    spacing_mm: Spacing | None = None
    """Millimetres between voxels along each axis; default: as stored in the files."""


class Volumes(Layout):
    """Reads volumes `(*S, C)` with a mask `(*S, K)` of K structures that may overlap and may be absent.

    With `task: multiclass`, the mask is `(*S)` and holds the number of each voxel's class.
    """

    ndim = 3
    normalizes: ClassVar[Literal[True, "per_image"]] = "per_image"
    default_tile: ClassVar[tuple[int, ...]] = (128, 128, 128)

    def __init__(self, config: VolumeKeys, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.keys = config
        self._collected: dict[Path, Path] = {}
        self._lost: set[Path] = set()
        self.excludes = spec.task == "multiclass"
        """Tells whether classes exclude each other."""

    @staticmethod
    def default_task(num_classes: int) -> str:
        """Return `structures`: every structure has its own mask."""
        return "structures"

    @property
    def overlaps(self) -> bool:
        """Tell whether structures may overlap."""
        return not self.excludes

    @property
    def names(self) -> list[str]:
        """Return the names of the structures, in the order of the masks."""
        return class_names(self.spec)

    # ---- images

    def image(self, voxels: Array, place: str) -> Array:
        """Convert stored voxels `(*S, C)` by the keys of the data set.

        Raises:
            DataError: The voxels have another number of channels, or NaN or infinite values.
        """
        voxels = chosen_of(voxels, self.spec.channels, f"volume `{place}`")
        if voxels.shape[-1] != self.spec.num_channels:
            raise DataError(
                f"volume `{place}` has {voxels.shape[-1]} channels, but the data set states "
                f"`num_channels: {self.spec.num_channels}`",
                hint=more_channels_hint(voxels.shape[-1], self.spec.num_channels),
            )
        if voxels.dtype.kind == "f":
            voxels = voxels.astype(np.float32, copy=False)
            if not np.isfinite(voxels).all():
                raise DataError(
                    f"volume `{place}` holds NaN or infinite values", hint="replace these values in the file"
                )
        elif voxels.dtype not in (np.uint8, np.uint16, np.int16):
            voxels = voxels.astype(np.float32)
        if self.keys.intensity_range is not None:
            low, high = self.keys.intensity_range
            voxels = np.clip((voxels.astype(np.float32) - low) / np.float32(high - low), 0.0, 1.0)
        return voxels

    @property
    def stated_spacing(self) -> tuple[float, ...] | None:
        """Return the key `spacing_mm`."""
        return None if self.keys.spacing_mm is None else tuple(self.keys.spacing_mm)

    def spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the spacing that the data-set file states."""
        return self.stated_spacing

    def input_spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the spacing of the file, or else that of the data-set file."""
        if case.index is not None:
            return self.stated_spacing
        return read_header(case.image, 3).spacing or self.stated_spacing

    # ---- checks

    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode image and masks, and check their contents."""
        try:
            sample = self.read(case)
        except DataError as error:
            others = tuple(path for path in case.labels if str(path) in error.message)
            return None, [Finding("unreadable_case", "error", case.image, error.message, error.hint or "", others)]
        name = f"volume `{case.place}`"
        findings = list(without_details(sample.image, self.keys.intensity_range, name, case.image))
        if case.label is not None and not sample.maps["mask"].any():
            message, hint = f"label map `{case.label}` is empty", "check that the volume shows none of the structures"
            findings.append(Finding("empty_mask", "warning", case.label, message, hint))
        elif case.label is not None and self.spec.num_classes == 1 and sample.maps["mask"].all():
            message, hint = f"label map `{case.label}` is all foreground", "check that the background is 0"
            findings.append(Finding("full_mask", "warning", case.label, message, hint))
        return sample, findings

    # ---- prediction

    def inputs(self, path: Path) -> list[Case]:
        """Find the cases of a file to predict: all volumes of an HDF5 file, or the single volume of any other file."""
        kind = format_of(path, 3)
        names = None if kind is None else kind.members(path)
        if names is None:
            return [Case(stem_of(path), path)]
        return [Case(name, path, index=index) for index, name in enumerate(names)]

    def read_unlabelled(self, case: Case) -> Sample:
        """Read one volume without masks."""
        return self.read_input(case.image, case.index)

    def converted(self, pixels: Array, path: Path) -> Array:
        """Convert a part of a volume."""
        return self.image(pixels, str(path))

    def is_upright(self, case: Case) -> bool:
        """Tell whether a volume is upright; those of NIfTI and DICOM are."""
        kind = format_of(case.image, 3)
        return kind is not None and kind.keeps_grid

    def answer_path(self, folder: Path, path: Path) -> Path:
        """Name the prediction after its input; a DICOM series gets a NIfTI file."""
        return folder / safe_name(answer_name(path, 3))

    def save_answer(self, folder: Path, case: Case, answer: Array) -> Path:
        """Write the masks `(*S, K)` of a case at once."""
        with self.writing_answer(folder, case, answer.shape[:3]) as add:
            add(answer)
        return self.answer_path(folder, case.image)

    @contextmanager
    def writing_answer(self, folder: Path, case: Case, size: tuple[int, ...]) -> Iterator[Add]:
        """Write the masks `(d, *S, K)` of a case in the format and geometry of its image.

        A file of one volume holds the number of a structure in each voxel (if structures overlap, the first); an HDF5
        file holds every mask and the presence flags.
        """
        target = self.answer_path(folder, case.image)
        count = self.spec.num_classes
        if case.index is not None:
            masks = 1 if self.excludes else count
            part = self._part(target)
            with told_when_full(target):
                try:
                    with HDF5.appending(part, case.image, case.index, size, masks) as add:
                        yield add
                except OSError:
                    self._lost |= set() if part.exists() else {target}
                    raise
            return
        example = np.zeros((1, 1, 1) if self.excludes else (1, 1, 1, count), np.uint8)
        with create(target, size, self.labels(example).dtype, like=case.image) as add:
            yield lambda answer: add(self.labels(answer))

    def values_path(self, folder: Path, case: Case, kind: str, channels: int = 0) -> Path:
        """Choose NIfTI if the volume has a position in the body, or else its own format.

        If that format cannot store channels, or holds many volumes, the values go into a NumPy file, channels first.
        """
        if case.index is not None:
            return folder / safe_name(f"{stem_of(case.image)}_{case.id}_{kind}.npy")
        own = ending_of(self.answer_path(folder, case.image))
        ending = ".nii.gz" if self.is_upright(case) else ".npy" if channels else own
        return folder / safe_name(f"{case.id}_{kind}{ending}")

    def writing_values(
        self, path: Path, case: Case, size: tuple[int, ...], channels: int = 0
    ) -> AbstractContextManager[Add]:
        """Write float32 into NIfTI and NumPy files, and 16-bit values into the volume's own format."""
        if self.is_upright(case):
            return create(path, size, np.float32, like=case.image, channels=channels)
        if case.index is not None or channels:
            return create(path, size, np.float32, channels=channels)
        return _in_16_bits(path, case, size)

    def _part(self, target: Path) -> Path:
        """Name the temporary file that collects predictions; remove one that an interrupted prediction left."""
        if target in self._lost:  # a new file would lack the volumes before
            raise DataError(
                f"cannot write `{shown(target)}` (an earlier write failed)", hint="free space there, and predict again"
            )
        if target not in self._collected:
            part = unfinished(target)
            remove_leftovers(target.parent)
            part.unlink(missing_ok=True)
            self._collected[target] = part
        return self._collected[target]

    def shares_file(self, case: Case) -> bool:
        """Tell whether the volume is one of many in an HDF5 file."""
        return case.index is not None

    def close_answers(self, folder: Path) -> None:
        """Give files of many cases their final names; they are complete now."""
        for target, part in self._collected.items():
            if part.is_file():
                with told_when_full(target):
                    put_in_place(part, target)
        self._collected.clear()

    def drop_answers(self) -> None:
        """Remove files of many cases that lack some."""
        for part in self._collected.values():
            part.unlink(missing_ok=True)
        self._collected.clear()

    def as_stored(self, answer: Array) -> Array:
        """Return the number of the structure in each voxel."""
        return self.labels(answer)

    def labels(self, answer: Array) -> Array:
        """Write the number of the structure in each voxel, like the label files of this data set."""
        if answer.ndim == 3:
            return answer
        numbers = np.arange(1, answer.shape[-1] + 1)
        found = answer > 0
        largest = int(numbers.max())
        labels: Array = np.where(found.any(-1), numbers[found.argmax(-1)], 0)
        return labels.astype(np.uint8 if largest <= 255 else np.uint16)


@contextmanager
def _in_16_bits(path: Path, case: Case, size: tuple[int, ...]) -> Iterator[Add]:
    with create(path, size, np.uint16, like=case.image) as add:
        yield lambda values: add(np.rint(values * 65535).astype(np.uint16))


def metadata(root: Path | None) -> dict[str, Any]:
    """Read `metadata.json`; empty if there is no such file.

    Raises:
        DataError: The file cannot be read, which is blamed on a line, or a value has the wrong form.
    """
    if root is None:
        return {}
    path = root / "metadata.json"
    about = _facts(path)
    for key, is_right, form in (
        ("structure_names", _are_names, "a list of different names"),
        ("num_structures", _is_count, "a whole number"),
        ("spacing_mm", _are_lengths, "three positive numbers"),
    ):
        if key in about and not is_right(about[key]):
            shown = json.dumps(about[key], ensure_ascii=False)[:80]
            raise DataError(f"`{path}` says `{key}: {shown}`, but it must be {form}", hint=f"correct `{key}`")
    return about


def _are_names(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    names = {str(name).strip() for name in value if isinstance(name, str | int)}
    return len(names - {""}) == len(value)


def _is_count(value: Any) -> bool:
    return value is None or type(value) is int


def _are_lengths(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(x) in (int, float) and 0 < x < 1e9 for x in value)


def decathlon_names(root: Path) -> dict[int, str]:
    """Read the names of the labels by number from the `dataset.json` of the Medical Segmentation Decathlon.

    Raises:
        DataError: The file is not JSON; the message names the line.
    """
    labels = _facts(root / "dataset.json").get("labels")
    try:
        return {int(number): printable(str(name), 200) for number, name in labels.items()}  # type: ignore[union-attr]  # told below
    except (ValueError, TypeError, AttributeError):
        return {}


def _facts(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty if there is none."""
    try:
        return read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataError(f"cannot read `{path}` ({error.strerror or error})", hint="grant rights to read it") from None


def flags_against(flags: Array, masks: Iterator[Array], names: list[str], cases: list[Case]) -> Iterator[Finding]:
    """Find presence flags that contradict their masks.

    Args:
        flags: `(N, K)`.
        masks: `(K, *S)` of each case.
        names: Structures.
        cases: Cases in the same order.
    """
    for row, (case, mask) in enumerate(zip(cases, masks, strict=True)):
        there = (mask > 0).reshape(len(mask), -1).max(axis=1)
        for position, name in enumerate(names):
            flag = bool(flags[row, position] > 0.5)
            if flag != bool(there[position]):
                what = "is empty" if flag else f"has {int((mask[position] > 0).sum())} voxels"
                message = (
                    f"`{case.place}` ({case.id}): the presence flag of `{name}` is {int(flag)}, but its mask {what}"
                )
                yield Finding("wrong_presence", "error", case.image, message, "correct the flag or the mask")
