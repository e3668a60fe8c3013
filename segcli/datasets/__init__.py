"""Layouts of data sets on disk, one file each. What every layout keeps stands here."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.names import safe_name, safe_path
from segcli.core.types import Array, ConfigModel
from segcli.data.checks import Finding
from segcli.data.classes.class_list import Mistake
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.splits import Division
from segcli.files import Add, open_picture
from segcli.files.png import PNG

__all__ = ["SPLITS", "Layout"]

SPLITS = ("train", "val", "test")


class Layout(ABC):
    """A layout finds the cases of a data set and reads them."""

    Config: ClassVar[type[ConfigModel]]
    """Keys of this format, which stand in the data-set file beside those of every format."""
    ndim: ClassVar[int] = 2
    """Spatial axes of one image."""
    case_size: tuple[int, ...] | None = None
    """Spatial size of every case, where they have one in common by the format itself."""
    normalizes: ClassVar[Literal[True, "per_image", "min_max"]] = True
    """`data.preprocessing.normalize` of a data set that states no `mean`."""
    default_tile: ClassVar[tuple[int, ...] | None] = (1024, 1024)
    """`inference.tile` where neither it nor `data.patch_size` is set; None for images that are never cut."""
    truths: ClassVar[tuple[str, ...]] = ("mask",)
    """Truths that a case has: a `mask`, or the `class` of the whole."""
    whole: ClassVar[str | None] = None
    """Word for what several cases are parts of, such as `sample`; their answers are joined into one for each."""
    keeps_split: ClassVar[bool] = False
    """The first training writes the split file of a drawn split; `segcli data split` always does."""

    def __init__(self, config: Any, spec: DatasetSpec) -> None:
        self.config = config
        self.spec = spec

    @property
    def root(self) -> Path:
        """Folder of the whole data set."""
        assert self.spec.paths.root is not None
        return Path(shown(self.spec.paths.root))

    def missing_root(self) -> DataError | None:
        """Say where the sample data is missing and how to make it; None where it is there or no sample is asked for."""
        if self.spec.sample is None or self.root.exists():
            return None
        return DataError(
            f"no folder `{self.root}` with the sample data",
            hint=f"make it with `segcli data sample {self.spec.sample} {self.root}`",
        )

    @staticmethod
    def default_task(num_classes: int) -> str:
        """Choose the task of a data set that does not name one."""
        return "binary" if num_classes == 1 else "multiclass"

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Find keys that follow from other keys or from a file, such as `num_classes` from a list of classes.

        Args:
            values: The data-set file as typed, with its overrides.

        Returns:
            The keys that change, and what is wrong with the others.
        """
        return {}, []

    @classmethod
    def write_small(cls, root: Path) -> dict[str, Any]:
        """Write a small data set of this layout: six cases to train, two to validate and two to test.

        Tests of the whole room take every layout with it.

        Returns:
            Keys of its data-set file, beside `format` and `paths.root`.
        """
        raise NotImplementedError(f"`{cls.__name__}` has no `write_small`, which its tests need")

    def division(self, *, fresh: bool = False) -> Division | None:
        """Return how the cases were drawn; None where folders or lists alone decide.

        Args:
            fresh: Draw anew instead of reading the split file.

        Raises:
            DataError: The draw or its file cannot work.
        """
        return None

    def together(self, case: Case) -> str:
        """Name what must stay on one side of a split, such as the patient or the sequence of a case."""
        return case.part_of or case.id

    def stratum(self, case: Case) -> str:
        """Name what every side of a split should have the same share of, such as the class of a case."""
        return ""

    def truth_of(self, case: Case) -> Array:
        """Count the valid pixels of each class, `(K)`; a case that has one class itself counts 1 for it.

        Raises:
            DataError: The mask cannot be read.
        """
        maps = self.read(case).maps
        valid = maps.get("valid", np.ones_like(maps["mask"])) > 0
        return np.bincount(maps["mask"][valid], minlength=self.spec.num_classes)[: self.spec.num_classes]

    @property
    def overlaps(self) -> bool:
        """True where a case has several masks `(*S, K)` that may overlap, each of which may be empty."""
        return False

    @abstractmethod
    def has(self, split: str) -> bool:
        """Tell whether the data set has this split at all."""

    @abstractmethod
    def cases(self, split: str) -> list[Case]:
        """Find the cases of a split, in natural order, without decoding an image.

        Raises:
            DataError: The folder is missing, the split is empty, or an image has no label.
        """

    @abstractmethod
    def all_cases(self, split: str) -> list[Case]:
        """Find the cases of a split, those with faults as well; for checks.

        Raises:
            DataError: The folder is missing.
        """

    @abstractmethod
    def read(self, case: Case) -> Sample:
        """Decode one case.

        Raises:
            DataError: A file is unreadable or does not fit the data set's description.
        """

    def read_input(self, path: Path, index: int | None = None) -> Sample:
        """Decode an image without label, converted as those of the data set; for prediction.

        Args:
            path: The file or folder, of any format with the axes of this layout.
            index: Position in a file that holds many.

        Raises:
            DataError: The file is unreadable or has the wrong channels.
        """
        with open_picture(path, self.ndim, index) as picture:
            return Sample(self.converted(picture.read(), picture.path))

    def inputs(self, path: Path) -> list[Case]:
        """Find the cases in a file to predict.

        Raises:
            DataError: The file is unreadable.
        """
        return [Case(path.stem, path)]

    def read_unlabelled(self, case: Case) -> Sample:
        """Decode one of `inputs`.

        Raises:
            DataError: The file is unreadable or has the wrong channels.
        """
        return self.read_input(case.image)

    def shown(self, case: Case) -> str:
        """Name a case for tables."""
        return str(Path(case.id).parent / case.image.name)

    @property
    def stated_spacing(self) -> tuple[float, ...] | None:
        """Millimetres between pixels along each axis that the data set states for all its cases; None without."""
        return None

    def spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the millimetres between pixels along each axis; None where nobody knows."""
        return None

    def input_spacing(self, case: Case) -> tuple[float, ...] | None:
        """Return the millimetres between pixels of one of `inputs`; None where nobody knows."""
        return None

    def is_upright(self, case: Case) -> bool:
        """Tell whether the axes of a volume go from left to right, back to front and bottom to top."""
        return False

    def answer_path(self, folder: Path, path: Path) -> Path:
        """Name the file below a folder for the answers to the cases of a file."""
        return folder / safe_name(f"{path.stem}.png")

    def writing_answer(self, folder: Path, case: Case, size: tuple[int, ...]) -> AbstractContextManager[Add]:
        """Take what a task found in a volume plane by plane, `(d, *S)` or `(d, *S, K)`, for a file below a folder.

        Raises:
            DataError: It cannot be written.
        """
        raise NotImplementedError

    def values_path(self, folder: Path, case: Case, kind: str, channels: int = 0) -> Path:
        """Name the file below a folder for values from 0 to 1 of a volume.

        Args:
            folder: Where the file lies.
            case: The volume.
            kind: What they are, a word in the name of the file.
            channels: 0 for none.
        """
        raise NotImplementedError

    def writing_values(
        self, path: Path, case: Case, size: tuple[int, ...], channels: int = 0
    ) -> AbstractContextManager[Add]:
        """Take values from 0 to 1 of a volume, `(d, *S)` or `(d, *S, channels)`, for the file of `values_path`.

        Raises:
            DataError: It cannot be written.
        """
        raise NotImplementedError

    def save_answer(self, folder: Path, case: Case, answer: Array) -> Path:
        """Write what a task found in a case below a folder, in the coding of the data set; returns the file.

        Raises:
            DataError: It cannot be written.
        """
        path = safe_path(folder, f"{case.id}.png")
        PNG.write(path, self.as_stored(answer))
        return path

    def close_answers(self, folder: Path) -> None:
        """Give answers that were collected below a folder their names; called after the last `save_answer`."""
        return

    def as_stored(self, answer: Array) -> Array:
        """Recode an answer of the task, `(*S)` uint8, as the data set's own masks are coded."""
        return answer

    def converted(self, pixels: Array, path: Path) -> Array:
        """Convert a part of an image, `(*S, C)`, as `read_input` converts the whole of it.

        Raises:
            DataError: It has the wrong channels, or this layout cannot read parts.
        """
        raise DataError(f"`{path}` cannot be read in parts with `format: {self.spec.format}`")

    @abstractmethod
    def size(self, case: Case) -> tuple[int, ...]:
        """Read the spatial size as stored, from the file's header."""

    @abstractmethod
    def inspect(self, split: str) -> Iterator[Finding]:
        """Find faults that show without decoding: partners, headers, sizes."""

    @abstractmethod
    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode a case and tell the faults that show only then; no sample where its image cannot be used."""
