"""Layouts of data sets on disk, one file each. This file holds their common interface."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from segcli.core.errors import DataError
from segcli.core.files import shown, typed
from segcli.core.names import safe_name, safe_path
from segcli.core.types import Array, ConfigModel
from segcli.data.checks import Finding
from segcli.data.classes.class_list import Mistake
from segcli.data.faults.orientation import OtherTurn
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.sources import links_outside
from segcli.data.splits import Division
from segcli.files import Add, Picture, open_picture
from segcli.files.png import PNG

__all__ = ["IN_MEMORY", "SPLITS", "Layout"]

SPLITS = ("train", "val", "test")
IN_MEMORY = Path("<array>")
"""Stands for an image in memory where messages name its file."""


class Layout(ABC):
    """Finds the cases of a data set and reads them."""

    Config: ClassVar[type[ConfigModel]]
    """Keys of this format, beside the keys that every data set has."""
    ndim: ClassVar[int] = 2
    """Spatial axes of one image."""
    case_size: tuple[int, ...] | None = None
    """Spatial size of every case, if the format makes it the same for all."""
    normalizes: ClassVar[Literal[True, "per_image", "min_max"]] = True
    """`data.preprocessing.normalize` of a data set that states no `mean`."""
    default_tile: ClassVar[tuple[int, ...] | None] = (1024, 1024)
    """`inference.tile` if neither it nor `data.patch_size` is set; None for images that are never cut."""
    truths: ClassVar[tuple[str, ...]] = ("mask",)
    """Kinds of truth of a case: a `mask`, or the `class` of the whole image."""
    whole: ClassVar[str | None] = None
    """Word for the whole of which cases are crops, such as `sample`; the predictions of its crops are averaged."""
    keeps_split: ClassVar[bool] = False
    """The first training writes the split file of a drawn split; `segcli data split` always does."""
    selecting: ClassVar[tuple[str, ...]] = ()
    """Keys of this format that leave cases out; they mean nothing for other data."""

    page: int | None = None
    """Page of 2D files of several pages, counted from 0."""

    def __init__(self, config: Any, spec: DatasetSpec) -> None:
        self.config = config
        self.spec = spec

    @property
    def root(self) -> Path:
        """Folder of the whole data set."""
        assert self.spec.paths.root is not None
        return Path(shown(self.spec.paths.root))

    def foreign_links(self, cases: Iterable[Case]) -> list[Finding]:
        """Find files that symbolic links take from outside the folders of the data set, unless it follows them."""
        paths = self.spec.paths
        stated = [Path(shown(path)) for path in (paths.train, paths.val, paths.test) if path is not None]
        return [] if self.spec.follow_links else list(links_outside([self.root, *stated], cases))

    def missing_root(self) -> DataError | None:
        """Make the error for missing sample data; None if the data exist, or if the data set is no sample."""
        if self.spec.sample is None or self.root.exists():
            return None
        return DataError(
            f"no folder `{self.root}` with the sample data",
            hint=f"make it with `segcli data sample {self.spec.sample} {typed(self.root)}`",
        )

    @staticmethod
    def default_task(num_classes: int) -> str:
        """Choose the task of a data set that does not name one."""
        return "binary" if num_classes == 1 else "multiclass"

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Find keys that follow from other keys or from a file, such as `num_classes` from a list of classes.

        Args:
            values: Keys of the data-set file as written, with overrides applied.

        Returns:
            The keys that change, and the mistakes found.
        """
        return {}, []

    @classmethod
    def write_small(cls, root: Path) -> dict[str, Any]:
        """Write a small data set of this layout: six training, two validation and two test cases.

        The tests of all layouts use it.

        Returns:
            Keys of its data-set file, in addition to `format` and `paths.root`.
        """
        raise NotImplementedError(f"`{cls.__name__}` has no `write_small`, which its tests need")

    @classmethod
    def elsewhere(cls, values: dict[str, Any], place: Path) -> dict[str, Any]:
        """Describe the cases in another folder or file as a data set whose test split holds all of them.

        The keys that say how files are named and read stay; those that say where cases are and how they are split
        change.

        Args:
            values: Keys of this data set.
            place: Folder or file in this layout.

        Raises:
            DataError: This layout finds no cases there.
        """
        if not place.is_dir():
            raise DataError(
                f"`{shown(place)}` is a file, and `format: {values['format']}` reads folders", hint="name its folder"
            )
        kept = {key: value for key, value in values.items() if key not in cls.selecting}
        split = {"train": [], "val": None, "test": ["*"]}
        return {**kept, "paths": {"root": place}, "fold": None, "sample": None, "split": split}

    def division(self, *, fresh: bool = False) -> Division | None:
        """Return how the cases were drawn; None if only folders or lists decide.

        Args:
            fresh: Draw again instead of reading the split file.

        Raises:
            DataError: The split cannot be drawn, or its file cannot be used.
        """
        return None

    def together(self, case: Case) -> str:
        """Name the group of a case that must stay in one split, such as the patient or the sequence."""
        return case.part_of or case.id

    def stratum(self, case: Case) -> str:
        """Name the stratum of a case, such as its class; every split gets the same share of each stratum."""
        return ""

    def truth_of(self, case: Case) -> Array:
        """Count the valid pixels of each class, `(K)`; a case with a single class counts 1 for it.

        Raises:
            DataError: The mask cannot be read.
        """
        sample = self.read(case)
        values = sample.maps["mask"][sample.valid].ravel()
        return np.bincount(values, minlength=self.spec.num_classes)[: self.spec.num_classes]

    @property
    def overlaps(self) -> bool:
        """Tell whether a case has several masks `(*S, K)` that may overlap and may be empty."""
        return False

    @abstractmethod
    def has(self, split: str) -> bool:
        """Tell whether the data set has this split."""

    @abstractmethod
    def cases(self, split: str) -> list[Case]:
        """Find the cases of a split, in natural order, without decoding an image.

        Raises:
            DataError: The folder is missing, the split is empty, or an image has no label.
        """

    @abstractmethod
    def all_cases(self, split: str) -> list[Case]:
        """Find the cases of a split, including those with faults; for checks.

        Raises:
            DataError: The folder is missing.
        """

    @abstractmethod
    def read(self, case: Case) -> Sample:
        """Decode one case.

        Raises:
            DataError: A file is unreadable or does not fit the data set's description.
        """

    def field_of(self, image: Path) -> Path | None:
        """Find the field-of-view mask of an image of this data set or of its copy; None if there is none."""
        return None

    def field_stems(self, image: Path) -> list[str]:
        """List the file stems that the field-of-view mask of an image may have, the preferred one first."""
        return [image.stem]

    def read_input(self, path: Path, index: int | None = None) -> Sample:
        """Decode an image without label, converted like those of the data set; for prediction.

        Args:
            path: The file or folder, in any format with the axes of this layout.
            index: Position in a file of many images, or page of a 2D file of several pages.

        Raises:
            DataError: The file is unreadable or has the wrong channels.
        """
        with self.opened(path, index) as picture:
            return Sample(self.converted(picture.read(), picture.path))

    def opened(self, path: Path, index: int | None = None) -> Picture:
        """Open an image to predict, with all files that it consists of.

        Raises:
            DataError: A file is missing or unreadable.
        """
        return open_picture(path, self.ndim, index)

    def leading(self, files: Sequence[Path]) -> list[Path]:
        """Return one file of each image to predict, of those that consist of several."""
        return list(files)

    def inputs(self, path: Path) -> list[Case]:
        """Find the cases in a file to predict.

        Raises:
            DataError: The file is unreadable.
        """
        return [Case(path.stem, path)]

    def made_grey(self, cases: Sequence[Case]) -> int:
        """Count the RGB images to predict that become grey."""
        return 0

    def read_unlabelled(self, case: Case) -> Sample:
        """Decode one of `inputs`.

        Raises:
            DataError: The file is unreadable or has the wrong channels.
        """
        return self.read_input(case.image, case.index)

    def shown(self, case: Case) -> str:
        """Name a case for tables."""
        return str(Path(case.id).parent / case.image.name)

    @property
    def stated_spacing(self) -> tuple[float, ...] | None:
        """Return the millimetres between pixels along each axis that the data set states for all cases, or None."""
        return None

    def spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the millimetres between pixels along each axis; None if unknown."""
        return None

    def input_spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the millimetres between pixels of one of `inputs`; None if unknown."""
        return None

    def is_upright(self, case: Case) -> bool:
        """Tell whether the axes of a volume go from left to right, back to front and bottom to top."""
        return False

    def answer_path(self, folder: Path, path: Path) -> Path:
        """Name the file in a folder for the predictions of an input file."""
        return folder / safe_name(f"{path.stem}.png")

    def writing_answer(self, folder: Path, case: Case, size: tuple[int, ...]) -> AbstractContextManager[Add]:
        """Write the prediction of a volume into a folder, plane by plane, `(d, *S)` or `(d, *S, K)`.

        Raises:
            DataError: The file cannot be written.
        """
        raise NotImplementedError

    def values_path(self, folder: Path, case: Case, kind: str, channels: int = 0) -> Path:
        """Name the file in a folder for values from 0 to 1 of a volume.

        Args:
            folder: Folder of the file.
            case: The volume.
            kind: Word for the values, used in the name of the file.
            channels: 0 for none.
        """
        raise NotImplementedError

    def writing_values(
        self, path: Path, case: Case, size: tuple[int, ...], channels: int = 0
    ) -> AbstractContextManager[Add]:
        """Write values from 0 to 1 of a volume, `(d, *S)` or `(d, *S, channels)`, into the file of `values_path`.

        Raises:
            DataError: The file cannot be written.
        """
        raise NotImplementedError

    def save_answer(self, folder: Path, case: Case, answer: Array) -> Path:
        """Write the prediction of a case into a folder, in the coding of the data set; return the file.

        Raises:
            DataError: The file cannot be written.
        """
        path = safe_path(folder, f"{case.id}.png")
        PNG.write(path, self.as_stored(answer))
        return path

    def shares_file(self, case: Case) -> bool:
        """Tell whether the prediction of a case goes into one file with those of other cases."""
        return False

    def close_answers(self, folder: Path) -> None:
        """Give the collected predictions of a folder their final names; called after the last `save_answer`."""
        return

    def drop_answers(self) -> None:
        """Remove collected predictions that have no final name, as the work has ended before they were complete."""
        return

    def as_stored(self, answer: Array) -> Array:
        """Recode a prediction of the task, `(*S)` uint8, like the masks of the data set."""
        return answer

    def converted(self, pixels: Array, path: Path) -> Array:
        """Convert a part of an image, `(*S, C)`, in the same way as `read_input`.

        Raises:
            DataError: The image has the wrong channels, or this layout cannot read parts.
        """
        raise DataError(f"`{path}` cannot be read in parts with `format: {self.spec.format}`")

    def of_array(self, pixels: Array) -> list[Sample]:
        """Convert an image in memory, `(*S, C)`, as one of a file; a layout of crops gives each crop.

        Raises:
            DataError: The image has the wrong channels.
        """
        return [Sample(self.converted(pixels, IN_MEMORY))]

    @abstractmethod
    def size(self, case: Case) -> tuple[int, ...]:
        """Read the spatial size as stored, from the file's header."""

    def counted(self, case: Case) -> Sample:
        """Read a case for statistics: its map `valid` also leaves out pixels that no image has, such as padding.

        Raises:
            DataError: The case cannot be read.
        """
        return self.read(case)

    def before_cropping(self, case: Case) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the size of the whole image, and the size of its part in the case without padding."""
        return self.size(case), self.size(case)

    def proposed_crop(self, cases: Sequence[Case]) -> tuple[int, ...] | None:
        """Propose another `crop_size` if most of the present crops is padding; None if they fit, or without crops."""
        return None

    @abstractmethod
    def inspect(self, split: str) -> Iterator[Finding]:
        """Find faults without decoding images: missing partners, headers, sizes."""

    def compared(self, splits: Sequence[str]) -> Iterator[Finding]:
        """Describe the conversion of the files of these splits, and find faults that only a comparison of cases shows.

        Training calls it after `inspect`, so it knows headers; checks call it after `examine`, so it knows pixels, too.

        Raises:
            DataError: The cases of a split cannot be found.
        """
        yield from ()

    def mask_beside(self, case: Case) -> Array | None:
        """Read a mask `(*S)` of a case that is not what a network learns; None if there is none.

        Raises:
            DataError: It cannot be read.
        """
        return None

    def unmasked(self, case: Case, sample: Sample) -> Sample:
        """Return a sample with the pixels that its mask hides from the network; the sample itself if it hides none."""
        return sample

    def turned_alike(self, case: Case, sample: Sample) -> OtherTurn | None:
        """Turn the mask of a case as if its file stated the orientation of the image; None if it does."""
        return None

    @abstractmethod
    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode a case and find its remaining faults; the sample is None if its image cannot be used."""
