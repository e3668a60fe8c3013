"""Nuclei and other small volumes, one folder each: `0001/raw/*.tif`, `0001/mask/*.tif`, and their classes in a CSV.

A volume is a folder of slices or one file of many pages. It is cut into crops of one size, and each crop has the class
of its sample. Finding cases reads only headers; reading a crop opens only its slices.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from segcli.core.cached import cached_method
from segcli.core.errors import DataError
from segcli.core.files import shown, write_text
from segcli.core.names import composed, existing
from segcli.core.types import Array, ConfigModel, FilePath, Positive, Range
from segcli.data.checks import Finding, by_name, raise_on_error
from segcli.data.classes.class_list import Mistake, class_names
from segcli.data.draws import stratified
from segcli.data.images import natural_key
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.slices import SliceStacks
from segcli.data.split_settings import ShareSettings
from segcli.data.splits import Division, divide
from segcli.datasets import IN_MEMORY, Layout
from segcli.datasets._crops import Cut, Window, better_crop, much_padding, padded, windows
from segcli.datasets._sample_faults import mask_faults, mixed_bits, sample_faults, unreadable
from segcli.datasets._sample_table import (
    SampleTable,
    check_root,
    classes_of_table,
    refuse_other_classes,
    table_and_columns,
    table_in,
)
from segcli.datasets._slice_faults import flat_crop, slice_faults
from segcli.datasets._small import COUNTS, volume, write_slices
from segcli.files import is_picture_folder, stem_of

__all__ = ["TIFFVolumes"]

Size3 = Annotated[list[Positive], Field(min_length=3, max_length=3)]
Margin = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=3, max_length=3)]


class SampleSplit(ShareSettings):
    """Sets the split of the samples; each class gets the same shares."""

    val: Any = 0.2
    """Names of samples for validation, a text file with one name per line, or a share to draw from each class."""

    @property
    def unit(self) -> str:
        """Return the word for the units of a split."""
        return "sample"


class TIFFVolumes(Layout):
    """Reads volumes of one class each, cut into crops."""

    class Config(ConfigModel):
        """Defines the keys of `format: tiff_volumes`."""

        classes_csv: FilePath = Path("classes.csv")
        """CSV table of the samples and their classes, in `root`."""
        id_column: str = "sample_id"
        """Column of the table with the names of the folders; leading zeros may be missing."""
        class_column: str = "class"
        """Column of the table with the classes."""
        raw_folder: str = "raw"
        """Folder of the slices (or of one file with all pages) in the folder of a sample."""
        mask_folder: str = "mask"
        """Folder of the slices of the mask."""
        apply_mask: bool = False
        """Set voxels outside the mask to 0."""
        crop_size: Size3 = [80, 80, 80]
        """Slices, rows and columns of a crop; smaller samples are padded. Crops lie side by side around the centre."""
        margin: Margin | Annotated[int, Field(ge=0)] = 0
        """Voxels to leave out at each end of an axis: one number, or one for each axis."""
        class_filter: list[str] | None = None
        """Classes to use; default: all."""
        sample_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
        """Share of the samples of each class to use, drawn by `split.seed`."""
        cache_volumes: Annotated[int, Field(ge=0)] = 10
        """Number of most recent volumes whose slices each loader process caches."""
        intensity_range: Range | None = None
        """Stored values that become 0 and 1; values outside are clipped. Default: values as stored."""
        split: SampleSplit = SampleSplit()
        """Split of the samples into training, validation and test."""

    ndim = 3
    normalizes: ClassVar[Literal[True, "per_image", "min_max"]] = "min_max"
    default_tile = None
    truths = ("class",)
    whole = "sample"
    selecting = ("sample_fraction",)

    @staticmethod
    def default_task(num_classes: int) -> str:
        """Return `classification`: each volume has one class."""
        return "classification"

    @classmethod
    def elsewhere(cls, values: dict[str, Any], place: Path) -> dict[str, Any]:
        """Take the samples of another folder, whose table has no other classes."""
        common = super().elsewhere(values, place)
        if values.get("class_filter") is None:
            table = table_and_columns(values, Path(shown(place)), cls.Config)
            refuse_other_classes(*table, names=[each["name"] for each in values["classes"]])
        return common

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Set one channel, and take the classes of the CSV, where they are not stated."""
        changes: dict[str, Any] = {} if "num_channels" in values else {"num_channels": 1}
        classes, mistakes = (values["classes"], []) if values.get("classes") else classes_of_table(values, cls.Config)
        if not isinstance(classes, list) or not classes:
            return changes, mistakes
        if values.get("num_classes", len(classes)) != len(classes):
            message = f"is {values['num_classes']}, but there are {len(classes)} classes"
            return changes, [("num_classes", message, "remove `num_classes`: it follows from the classes")]
        return {**changes, "classes": classes, "num_classes": len(classes)}, []

    @classmethod
    def write_small(cls, root: Path) -> dict[str, Any]:
        """Write samples of two classes, a file for each slice."""
        names = [f"{number + 1:04d}" for number in range(sum(COUNTS.values()))]
        for seed, name in enumerate(names):
            write_slices(root / name, *volume(seed))
        lines = ["sample_id,class", *(f"{name},{('even', 'odd')[seed % 2]}" for seed, name in enumerate(names))]
        write_text(root / "classes.csv", "\n".join(lines) + "\n")
        val, test = COUNTS["val"], COUNTS["test"]
        return {"crop_size": [16, 16, 8], "split": {"val": names[:val], "test": names[val : val + test]}}

    def __init__(self, config: Config, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.config: TIFFVolumes.Config = config
        self.crop = tuple(config.crop_size)
        given = config.margin
        self.margin = (given,) * 3 if isinstance(given, int) else tuple(given)
        self.stacks = SliceStacks(config.cache_volumes, spec.channels)
        self.case_size = self.crop
        if spec.num_channels != 1:
            message = f"data set `{spec.name}` states {spec.num_channels} channels, but `tiff_volumes` are grey slices"
            raise DataError(message, hint="set `num_channels: 1`")

    # ---- samples and classes

    @property
    def names(self) -> list[str]:
        """Return the classes, in the order of their indices."""
        return class_names(self.spec)

    @cached_property
    def table(self) -> SampleTable:
        """Return the table of existing samples and their classes."""
        config = self.config
        return SampleTable(table_in(self.root, config.classes_csv), config.id_column, config.class_column, self.folders)

    @cached_property
    def places(self) -> dict[str, Path]:
        """Return the folders of `root` that hold a sample, by their name in normal form, in natural order.

        Raises:
            DataError: Two folders have the same name.
        """
        check_root(self.root, self.spec.sample)
        inside = by_name(path for path in self.root.iterdir() if path.is_dir())
        return {name: path for name, path in inside.items() if self._raw(path).exists()}

    @property
    def folders(self) -> list[str]:
        """List the samples that exist, in natural order."""
        return list(self.places)

    def _raw(self, folder: Path) -> Path:
        return existing(folder, self.config.raw_folder)

    def _masks(self, folder: Path) -> Path:
        return existing(folder, self.config.mask_folder)

    @property
    def class_of(self) -> dict[str, str]:
        """Return the class of each existing sample that has one in the CSV."""
        return self.table.class_of

    @cached_property
    def taken(self) -> dict[str, int]:
        """Return the samples to use, with the index of their class."""
        chosen = self.names if self.config.class_filter is None else self.config.class_filter
        chosen = [composed(name) for name in chosen]
        index = {composed(name): self.names.index(name) for name in self.names if composed(name) in chosen}
        return {name: index[label] for name, label in self.class_of.items() if label in index}

    # ---- splits

    @cached_method
    def division(self, *, fresh: bool = False) -> Division:
        """Return how samples were split."""
        settings = self.config.split
        return divide(list(self.class_of), settings, self.root, fresh=fresh, stratum=self.class_of.__getitem__)

    def has(self, split: str) -> bool:
        """Tell whether the data set has this split: named, drawn, or in the split file."""
        return self.config.split.gives(split, self.division)

    def samples(self, split: str) -> list[str]:
        """List the samples of a split to use."""
        names = [name for name in self.division().sides[split] if name in self.taken]
        if self.config.sample_fraction == 1.0:
            return names
        kept = set()
        for label in range(len(self.names)):
            same = stratified([n for n in names if self.taken[n] == label], self.config.split.seed, None)
            kept |= set(same[: max(round(self.config.sample_fraction * len(same)), 1)])
        return [name for name in names if name in kept]

    def cases(self, split: str) -> list[Case]:
        """Find the crops of the samples of a split."""
        raise_on_error(self.inspect(split))
        return self.all_cases(split)

    def all_cases(self, split: str) -> list[Case]:
        """Find the crops of the samples of a split, including those with faults."""
        return [case for name in self.samples(split) for case in self._cases(self.places[name])]

    def _cases(self, folder: Path) -> list[Case]:
        raw, mask, name = self._raw(folder), self._masks(folder), composed(folder.name)
        count = len(self._windows(self.stacks.of(raw).size))
        return [
            Case(
                name if count == 1 else f"{name}/{index:03d}",
                raw,
                mask if mask.exists() else None,
                index=index,
                part_of=name,
            )
            for index in range(count)
        ]

    def together(self, case: Case) -> str:
        """Return the sample of a crop; all crops of a sample are in one split."""
        assert case.part_of is not None
        return case.part_of

    def stratum(self, case: Case) -> str:
        """Return the class of the sample."""
        return self.class_of[self.together(case)]

    def truth_of(self, case: Case) -> Array:
        """Count 1 for the class in the CSV."""
        return np.bincount([self.taken[self.together(case)]], minlength=len(self.names))

    def shown(self, case: Case) -> str:
        """Name the sample and the number of the crop."""
        return case.id

    # ---- geometry

    def size(self, case: Case) -> tuple[int, ...]:
        """Return the size of every crop."""
        return self.crop

    def _windows(self, size: tuple[int, ...]) -> tuple[Window, ...]:
        return windows(size, self.margin, self.crop)

    def _window(self, case: Case) -> Window:
        return self._windows(self.stacks.of(case.image).size)[case.index or 0]

    def before_cropping(self, case: Case) -> Cut:
        """Return the size of the sample, and the size of its part in a crop."""
        size = self.stacks.of(case.image).size
        return size, tuple(each.stop - each.start for each in self._windows(size)[case.index or 0])

    def proposed_crop(self, cases: Sequence[Case]) -> tuple[int, ...] | None:
        """Propose a `crop_size` near the median size of the samples if most of the present crops is padding."""
        return better_crop(list(map(self.before_cropping, cases)), self.crop, self.margin)

    # ---- reading

    def read(self, case: Case) -> Sample:
        """Read one crop with its class, padded at both ends if the sample is smaller."""
        sample = self.read_unlabelled(case)
        sample.facts = {"class": np.array(self.taken[self.together(case)], np.uint8)}
        return sample

    def read_unlabelled(self, case: Case) -> Sample:
        """Read one crop."""
        stack = self.stacks.of(case.image)
        if stack.faults or stack.mixed or not stack.planes:
            raise next(iter(stack.faults), stack.mixed) or DataError(f"`{case.image}` holds no slices")
        voxels = self.stacks.voxels(case.image, self._window(case))
        if self.config.apply_mask:
            voxels = np.where(self._mask(case, stack.size, self._window(case)), voxels, 0).astype(voxels.dtype)
        return self._crop_of(voxels)

    def _crop_of(self, voxels: Array) -> Sample:
        if self.config.intensity_range is not None:
            low, high = self.config.intensity_range
            voxels = np.clip((voxels.astype(np.float32) - low) / np.float32(high - low), 0.0, 1.0)
        return Sample(padded(voxels, self.crop)[..., None])

    def of_array(self, pixels: Array) -> list[Sample]:
        """Cut a volume in memory into crops."""
        if pixels.shape[-1] != 1:
            message = f"`{IN_MEMORY}` has {pixels.shape[-1]} channels, but a grey volume was expected"
            raise DataError(message, hint="give one channel")
        if self.config.apply_mask:
            message = f"`{IN_MEMORY}` has no mask, but `apply_mask` is set"
            raise DataError(message, hint="use `segcli predict` on the folder of the sample")
        voxels = pixels[..., 0]
        voxels = voxels if voxels.dtype in (np.uint8, np.uint16, np.int16) else voxels.astype(np.float32)
        return [self._crop_of(voxels[window]) for window in self._windows(voxels.shape)]

    def counted(self, case: Case) -> Sample:
        """Read one crop for statistics: neither padding nor voxels that the mask hides count."""
        sample, (size, part) = self.read(case), self.before_cropping(case)
        inside = np.ones(part, np.uint8)
        if self.config.apply_mask:
            inside &= self._mask(case, size, self._window(case))
        sample.maps = {"valid": padded(inside, self.crop, 0)}
        return sample

    def _mask(self, case: Case, size: tuple[int, ...], window: Window) -> Array:
        if case.label is None:
            raise DataError(
                f"sample `{case.part_of}` has no mask (looked for `{case.image.parent / self.config.mask_folder}`)",
                hint="add the mask, or set `apply_mask: false`",
            )
        raise_on_error(mask_faults(self.stacks, case.image, case.label, size))
        return self.stacks.voxels(case.label, window, labels=True) > 0

    def inputs(self, path: Path) -> list[Case]:
        """Find the crops of a sample's folder, of all samples in a folder, or of a volume of any format."""
        if path.is_file() or is_picture_folder(path, 3):
            count, name = len(self._windows(self.stacks.of(path).size)), stem_of(path)
            return [Case(f"{name}/{i:03d}", path, index=i, part_of=name) for i in range(count)]
        raw = self.config.raw_folder
        path = path.parent if composed(path.name) == composed(raw) and path.is_dir() else path
        inside = sorted(path.iterdir(), key=natural_key) if path.is_dir() else []
        folders = [path] if self._raw(path).exists() else inside
        return [case for folder in folders if self._raw(folder).exists() for case in self._cases(folder)]

    def read_input(self, path: Path, index: int | None = None) -> Sample:
        """Read the first crop of a stack."""
        return self.read_unlabelled(self.inputs(path)[index or 0])

    # ---- checks

    def inspect(self, split: str) -> Iterator[Finding]:
        """Find faults in the table and in headers."""
        try:
            names = self.samples(split)
        except DataError as error:
            yield Finding("unusable_data", "error", self.root, error.message, error.hint or "")
            return
        if split == "train":
            chosen = self.config.class_filter
            names_of_classes = [composed(name) for name in self.names]
            yield from self.table.inspect(self.root, names_of_classes, chosen and [composed(name) for name in chosen])
        if not names:
            message = f"split `{split}` is empty: no samples in `{self.root}` belong to it"
            yield Finding("empty_split", "error", self.root, message, "check `split` and `class_filter`")
        for name in names:
            folder = self.places[name]
            yield from sample_faults(self.stacks, self._raw(folder), self._masks(folder), needed=self.config.apply_mask)
        if split == "train":
            stacks = {name: self.stacks.of(self._raw(self.places[name])) for name in self.taken}
            yield from mixed_bits(self.root, stacks)

    def compared(self, splits: Sequence[str]) -> Iterator[Finding]:
        """Report slices that are coded in different ways or declare 0 as white, and crops that are mostly padding."""
        yield from self.stacks.findings()
        if "train" in splits:
            yield from much_padding(list(map(self.before_cropping, self.all_cases("train"))), self.crop, self.margin)

    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode a crop, and check its contents."""
        try:
            sample = self.read(case)
        except DataError as error:
            return None, unreadable(case, error, self.stacks.of(case.image), needs_mask=self.config.apply_mask)
        faults = slice_faults(self.stacks, case.image, self._window(case))
        return sample, [*flat_crop(case, sample, self.unmasked(case, sample), self.config.intensity_range), *faults]

    def unmasked(self, case: Case, sample: Sample) -> Sample:
        """Read a crop without its mask."""
        return self._crop_of(self.stacks.voxels(case.image, self._window(case))) if self.config.apply_mask else sample

    def mask_beside(self, case: Case) -> Array | None:
        """Read the mask of a crop, whose place on the image `data check` looks at."""
        size = self.stacks.of(case.image).size
        if case.label is None or list(mask_faults(self.stacks, case.image, case.label, size)):
            return None  # reported with the headers
        return padded(self.stacks.voxels(case.label, self._window(case), labels=True), self.crop, 0)
