"""What layouts of volumes share: several structures per case, inputs in any volume format, answers in that format."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import h5py
import numpy as np
from pydantic import Field

from segcli.core.errors import DataError
from segcli.core.files import shown, told_when_full
from segcli.core.types import Array, ConfigModel
from segcli.data.checks import Finding
from segcli.data.class_list import class_names
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.volumes import HDF5, NIFTI, TIFF, HDF5File, read_volume, suffix_of, volume_spacing, write_volume
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
        """Whether classes exclude each other."""

    @staticmethod
    def default_task(num_classes: int) -> str:
        """Every structure a mask of its own."""
        return "structures"

    @property
    def root(self) -> Path:
        """Folder of the whole data set."""
        assert self.spec.paths.root is not None
        return Path(shown(self.spec.paths.root))

    @property
    def overlaps(self) -> bool:
        """Unless classes exclude each other."""
        return not self.excludes

    @property
    def names(self) -> list[str]:
        """Structures, in the order of the masks."""
        return class_names(self.spec)

    def missing_root(self) -> DataError | None:
        """What to say where the folder of a sample is not there yet."""
        if self.spec.sample is None or self.root.exists():
            return None
        return DataError(
            f"no folder `{self.root}` with the sample data",
            hint=f"make it with `segcli data sample {self.spec.sample} {self.root}`",
        )

    # ---- images

    def image(self, voxels: Array, place: str) -> Array:
        """Stored voxels `(*S, C)` as the data set states them.

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
        """As stated."""
        return self.stated_spacing

    def input_spacing(self, case: Case) -> tuple[float, ...] | None:
        """As the file says, else as stated for the data set."""
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
        """Cases of a file to predict: all of an HDF5 file, or the one of any other."""
        if suffix_of(path) not in HDF5:
            return [Case(path.name[: -len(suffix_of(path))], path)]
        with HDF5File(path).open() as file:
            if "images" not in file:
                raise DataError(f"`{path}` has no dataset `images`; it has {', '.join(file) or 'none'}")
            count = len(file["images"])
            names = names_of(file, count)
        return [Case(name, path, index=index) for index, name in enumerate(names)]

    def read_unlabelled(self, case: Case) -> Sample:
        """One volume without masks."""
        if case.index is None:
            return self.read_input(case.image)
        with HDF5File(case.image).open() as file:
            return Sample(self.image(as_channels_last(file["images"][case.index]), case.place))

    def read_input(self, path: Path) -> Sample:
        """The volume of a NIfTI or TIFF file."""
        return Sample(self.image(read_volume(path).voxels, str(path)))

    def save_answer(self, folder: Path, case: Case, answer: Array) -> Path:
        """Write the masks `(*S, K)` of a case in the format and geometry of its image.

        A NIfTI or TIFF file holds the number of a structure in each voxel (of overlapping ones, the first); an HDF5
        file holds every mask and the presence flags.
        """
        target = folder / f"{case.image.name if case.index is not None else case.id + suffix_of(case.image)}"
        if case.index is not None:
            _append(self._part(target), case, answer)
            return target
        write_volume(target, self.labels(answer), case.image if suffix_of(case.image) in NIFTI else None)
        return target

    def _part(self, target: Path) -> Path:
        """File that collects answers until the last of them; one that an earlier, broken prediction left is dropped."""
        if target not in self._collected:
            part = target.with_name(f".{target.name}.part")
            part.unlink(missing_ok=True)
            self._collected[target] = part
        return self._collected[target]

    def close_answers(self, folder: Path) -> None:
        """Files of many cases are whole now."""
        for target, part in self._collected.items():
            if part.is_file():
                part.replace(target)
        self._collected.clear()

    def labels(self, answer: Array) -> Array:
        """Number of the structure in each voxel, as label files of this data set have it."""
        if answer.ndim == 3:
            return answer
        numbers = np.arange(1, answer.shape[-1] + 1)
        found = answer > 0
        largest = int(numbers.max())
        labels: Array = np.where(found.any(-1), numbers[found.argmax(-1)], 0)
        return labels.astype(np.uint8 if largest <= 255 else np.uint16)

    def save_probabilities(self, folder: Path, case: Case, probs: Array) -> Path:
        """Write probabilities `(K, *S)` beside the masks, as float32; of an HDF5 case, as a NumPy file."""
        if case.index is not None or suffix_of(case.image) not in NIFTI:
            target = folder / f"{case.id}_probabilities.npy"
            folder.mkdir(parents=True, exist_ok=True)
            np.save(target, probs.astype(np.float32))
            return target
        target = folder / f"{case.id}_probabilities.nii.gz"
        write_volume(target, np.moveaxis(probs.astype(np.float32), 0, -1), case.image)
        return target


def as_channels_last(voxels: Array) -> Array:
    """`(*S)` or `(C, *S)` as `(*S, C)`."""
    return voxels[..., None] if voxels.ndim == 3 else np.moveaxis(voxels, 0, -1)


def names_of(file: h5py.File, count: int) -> list[str]:
    """Names of the cases in a file: its `case_ids` where they can be names of files, else numbers."""
    if "case_ids" in file and file["case_ids"].shape == (count,):
        names = [text_of(value) for value in file["case_ids"][:]]
        usable = all(name and not set(name) & set("/\\\0") and not name.startswith(".") for name in names)
        if usable and len(set(names)) == count:
            return names
    return [f"{index:04d}" for index in range(count)]


def text_of(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _append(part: Path, case: Case, answer: Array) -> None:
    """Write one case into the file of answers."""
    masks = answer[..., None] if answer.ndim == 3 else answer
    with HDF5File(case.image).open() as source:
        count = len(source["images"])
    part.parent.mkdir(parents=True, exist_ok=True)
    with told_when_full(part), h5py.File(part, "a") as file:
        if "masks" not in file:
            shape = (count, masks.shape[-1], *masks.shape[:-1])
            file.create_dataset("masks", shape, np.uint8, chunks=(1, 1, *shape[2:]), compression="gzip")
            file.create_dataset("presence_labels", shape[:2], np.uint8)
        file["masks"][case.index] = np.moveaxis(masks, -1, 0)
        file["presence_labels"][case.index] = masks.reshape(-1, masks.shape[-1]).any(0)


def metadata(root: Path | None) -> dict[str, Any]:
    """Content of `metadata.json`; empty where there is none or it cannot be read."""
    if root is None:
        return {}
    try:
        values = json.loads((root / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def flags_against(flags: Array, masks: Iterator[Array], names: list[str], cases: list[Case]) -> Iterator[Finding]:
    """Presence flags that say something else than their masks.

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
