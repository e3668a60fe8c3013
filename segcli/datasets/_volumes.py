"""What layouts of volumes share: several structures per case, inputs in any volume format, answers in that format."""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import h5py
import numpy as np
from pydantic import Field

from segcli.core.errors import DataError
from segcli.core.files import told_when_full
from segcli.core.names import safe_name
from segcli.core.types import Array, ConfigModel
from segcli.data.checks import Finding
from segcli.data.classes.class_list import class_names
from segcli.data.dicom import is_dicom
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.tiles import Add
from segcli.data.volume_windows import is_folder, open_volume
from segcli.data.volume_writers import CHUNK, writing_volume
from segcli.data.volumes import HDF5, NIFTI, TIFF, HDF5File, read_volume, suffix_of, volume_spacing
from segcli.data.windows import LARGE
from segcli.datasets import Layout

__all__ = ["Spacing", "VolumeKeys", "Volumes", "as_channels_last", "flags_against", "metadata", "names_of", "text_of"]

Spacing = Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=3, max_length=3)]


class VolumeKeys(ConfigModel):
    """Keys of every format of volumes."""

    intensity_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """Stored values that become 0 and 1, what lies outside is cut off; such as `[-160, 240]` for soft tissue in CT."""
    spacing_mm: Spacing | None = None
    """Millimetres between voxels along each axis; as the files say when left out."""


class Volumes(Layout):
    """Volumes `(*S, C)` with a mask `(*S, K)` of K structures that may overlap and may be absent.

    With `task: multiclass`, the mask is `(*S)` and holds the number of each voxel's class.
    """

    ndim = 3
    normalizes: ClassVar[Literal[True, "per_image"]] = "per_image"
    default_tile: ClassVar[tuple[int, ...]] = (128, 128, 128)
    endings: ClassVar[tuple[str, ...]] = (*NIFTI, *TIFF, *HDF5)

    def __init__(self, config: VolumeKeys, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.keys = config
        self._collected: dict[Path, Path] = {}
        self.excludes = spec.task == "multiclass"
        """True where classes exclude each other."""

    @staticmethod
    def default_task(num_classes: int) -> str:
        """Choose `structures`: every structure has a mask of its own."""
        return "structures"

    @property
    def overlaps(self) -> bool:
        """True unless classes exclude each other."""
        return not self.excludes

    @property
    def names(self) -> list[str]:
        """Structures, in the order of the masks."""
        return class_names(self.spec)

    # ---- images

    def image(self, voxels: Array, place: str) -> Array:
        """Convert stored voxels `(*S, C)` as the data set states.

        Raises:
            DataError: They have other channels, or are no numbers.
        """
        if voxels.shape[-1] != self.spec.num_channels:
            raise DataError(
                f"volume `{place}` has {voxels.shape[-1]} channels, the data set states "
                f"`num_channels: {self.spec.num_channels}`",
                hint=f"set `num_channels: {voxels.shape[-1]}` in the data-set file",
            )
        if voxels.dtype.kind == "f":
            voxels = voxels.astype(np.float32, copy=False)
            if not np.isfinite(voxels).all():
                raise DataError(f"volume `{place}` holds NaN or infinite values", hint="mend the file")
        elif voxels.dtype not in (np.uint8, np.uint16, np.int16):
            voxels = voxels.astype(np.float32)
        if self.keys.intensity_range is not None:
            low, high = self.keys.intensity_range
            voxels = np.clip((voxels.astype(np.float32) - low) / np.float32(high - low), 0.0, 1.0)
        return voxels

    @property
    def stated_spacing(self) -> tuple[float, ...] | None:
        """The key `spacing_mm`."""
        return None if self.keys.spacing_mm is None else tuple(self.keys.spacing_mm)

    def spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the stated spacing."""
        return self.stated_spacing

    def input_spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the spacing of the file, else that stated for the data set."""
        if case.index is not None:
            return self.stated_spacing
        return volume_spacing(case.image) or self.stated_spacing

    # ---- checks

    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode image and masks, and look at what they hold."""
        try:
            sample = self.read(case)
        except DataError as error:
            return None, [Finding("unreadable_case", "error", case.image, error.message, error.hint or "")]
        findings = []
        if sample.image.min() == sample.image.max():
            message = f"volume `{case.place}` has one value throughout"
            findings.append(Finding("constant_image", "warning", case.image, message, "look at the file"))
        return sample, findings

    # ---- prediction

    def inputs(self, path: Path) -> list[Case]:
        """Find the cases of a file to predict: all of an HDF5 file, or the one of any other."""
        if suffix_of(path) not in HDF5:
            return [Case(_stem(path), path)]
        with HDF5File(path).open() as file:
            if "images" not in file:
                raise DataError(f"`{path}` has no dataset `images`; it has {', '.join(file) or 'none'}")
            count = len(file["images"])
            names = names_of(file, count)
        return [Case(name, path, index=index) for index, name in enumerate(names)]

    def read_unlabelled(self, case: Case) -> Sample:
        """Read one volume without masks."""
        if case.index is None:
            return self.read_input(case.image)
        with HDF5File(case.image).open() as file:
            return Sample(self.image(as_channels_last(file["images"][case.index]), case.place))

    def read_input(self, path: Path) -> Sample:
        """Read the volume of a NIfTI or TIFF file, of Zarr or of a DICOM series."""
        parts = open_volume(path) if is_folder(path) else None
        if parts is None:
            return Sample(self.image(read_volume(path).voxels, str(path)))
        try:
            return Sample(self.image(parts.read(tuple(slice(0, length) for length in parts.size)), str(path)))
        finally:
            parts.close()

    def converted(self, pixels: Array, path: Path) -> Array:
        """Convert a part as the whole."""
        return self.image(pixels, str(path))

    def is_upright(self, case: Case) -> bool:
        """Tell that volumes of NIfTI and DICOM are upright."""
        return suffix_of(case.image) in NIFTI or is_dicom(case.image)

    def answer_path(self, folder: Path, path: Path) -> Path:
        """Name the file as the input; the answer to a DICOM series is a NIfTI file."""
        return folder / safe_name(f"{_stem(path)}.nii.gz" if is_dicom(path) else path.name)

    def save_answer(self, folder: Path, case: Case, answer: Array) -> Path:
        """Write the masks `(*S, K)` of a case, as `writing_answer` does."""
        with self.writing_answer(folder, case, answer.shape[:3]) as add:
            add(answer)
        return self.answer_path(folder, case.image)

    @contextmanager
    def writing_answer(self, folder: Path, case: Case, size: tuple[int, ...]) -> Iterator[Add]:
        """Take the masks `(d, *S, K)` of a case, for a file in the format and geometry of its image.

        A file of one volume holds the number of a structure in each voxel (of overlapping ones, the first); an HDF5
        file holds every mask and the presence flags.
        """
        target = self.answer_path(folder, case.image)
        count = self.spec.num_classes
        if case.index is not None:
            with _appending(self._part(target), case, size, 1 if self.excludes else count) as add:
                yield add
            return
        example = np.zeros((1, 1, 1) if self.excludes else (1, 1, 1, count), np.uint8)
        with writing_volume(target, size, self.labels(example).dtype, like=case.image) as add:
            yield lambda answer: add(self.labels(answer))

    def writing_values(
        self, folder: Path, case: Case, kind: str, size: tuple[int, ...], channels: int = 0
    ) -> tuple[Path, AbstractContextManager[Add]]:
        """Write float32 in NIfTI where the volume is of NIfTI or DICOM, else 16 bits in its own format.

        What that has no room for, channels or a place among other volumes, is float32 in a NumPy file, channels first.
        """
        if case.index is not None:
            path = folder / safe_name(f"{_stem(case.image)}_{case.id}_{kind}.npy")
            return path, writing_volume(path, size, np.float32, like=None, channels=channels)
        if suffix_of(case.image) in NIFTI or is_dicom(case.image):
            path = folder / safe_name(f"{case.id}_{kind}.nii.gz")
            return path, writing_volume(path, size, np.float32, like=case.image, channels=channels)
        if channels:
            path = folder / safe_name(f"{case.id}_{kind}.npy")
            return path, writing_volume(path, size, np.float32, like=None, channels=channels)
        path = folder / safe_name(f"{case.id}_{kind}{suffix_of(case.image)}")
        return path, _in_16_bits(path, case, size)

    def _part(self, target: Path) -> Path:
        """Name the file that collects answers until the last of them, and drop one that a broken prediction left."""
        if target not in self._collected:
            part = target.with_name(f".{target.name}.{os.getpid()}.part")
            part.unlink(missing_ok=True)
            self._collected[target] = part
        return self._collected[target]

    def close_answers(self, folder: Path) -> None:
        """Give files of many cases their names: they are whole now."""
        for target, part in self._collected.items():
            if part.is_file():
                part.replace(target)
        self._collected.clear()

    def labels(self, answer: Array) -> Array:
        """Number the structure in each voxel, as label files of this data set do."""
        if answer.ndim == 3:
            return answer
        numbers = np.arange(1, answer.shape[-1] + 1)
        found = answer > 0
        largest = int(numbers.max())
        labels: Array = np.where(found.any(-1), numbers[found.argmax(-1)], 0)
        return labels.astype(np.uint8 if largest <= 255 else np.uint16)


def _stem(path: Path) -> str:
    """Return the name without the ending that tells the format."""
    ending = suffix_of(path)
    return path.name[: -len(ending)] if ending and not is_dicom(path) else path.name


@contextmanager
def _in_16_bits(path: Path, case: Case, size: tuple[int, ...]) -> Iterator[Add]:
    with writing_volume(path, size, np.uint16, like=case.image) as add:
        yield lambda values: add(np.rint(values * 65535).astype(np.uint16))


def as_channels_last(voxels: Array) -> Array:
    """Turn `(*S)` or `(C, *S)` into `(*S, C)`."""
    return voxels[..., None] if voxels.ndim == 3 else np.moveaxis(voxels, 0, -1)


def names_of(file: h5py.File, count: int) -> list[str]:
    """Name the cases in a file: by its `case_ids` where they can be names of files, else by numbers."""
    if "case_ids" in file and file["case_ids"].shape == (count,):
        names = [text_of(value) for value in file["case_ids"][:]]
        usable = all(name == safe_name(name) for name in names)
        if usable and len(set(names)) == count:
            return names
    return [f"{index:04d}" for index in range(count)]


def text_of(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def _appending(part: Path, case: Case, size: tuple[int, ...], count: int) -> Iterator[Add]:
    """Take the masks of one case, plane by plane, into the file of answers; of a case that fails, nothing."""
    with HDF5File(case.image).open() as source:
        cases = len(source["images"])
    part.parent.mkdir(parents=True, exist_ok=True)
    most = CHUNK if np.prod(size, dtype=np.int64) >= LARGE else max(size)
    with told_when_full(part), h5py.File(part, "a") as file:
        if "masks" not in file:
            chunks = (1, 1, *(min(length, most) for length in size))
            file.create_dataset("masks", (cases, count, *size), np.uint8, chunks=chunks, compression="gzip")
            file.create_dataset("presence_labels", (cases, count), np.uint8)
        done = 0
        present = np.zeros(count, bool)

        def add(answer: Array) -> None:
            nonlocal done
            masks = answer[..., None] if answer.ndim == 3 else answer
            rows = slice(done, done + len(masks))
            file["masks"][case.index, :, rows] = np.moveaxis(masks, -1, 0)
            present[:] |= masks.reshape(-1, count).any(0)
            done = rows.stop

        try:
            yield add
            file["presence_labels"][case.index] = present
        except BaseException:
            for number in range(count):
                file["masks"][case.index, number] = 0
            raise


def metadata(root: Path | None) -> dict[str, Any]:
    """Read `metadata.json`; empty where there is none or it cannot be read."""
    if root is None:
        return {}
    try:
        values = json.loads((root / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def flags_against(flags: Array, masks: Iterator[Array], names: list[str], cases: list[Case]) -> Iterator[Finding]:
    """Find presence flags that say something else than their masks.

    Args:
        flags: `(N, K)`.
        masks: `(K, *S)` of each case.
        names: Structures.
        cases: Of the same order.
    """
    for row, (case, mask) in enumerate(zip(cases, masks, strict=True)):
        there = (mask > 0).reshape(len(mask), -1).max(axis=1)
        for position, name in enumerate(names):
            flag = bool(flags[row, position])
            if flag != bool(there[position]):
                what = "is empty" if flag else f"has {int((mask[position] > 0).sum())} voxels"
                message = f"`{case.place}` ({case.id}): the presence flag of `{name}` is {int(flag)}, its mask {what}"
                yield Finding("wrong_presence", "error", case.image, message, "mend the flag or the mask")
