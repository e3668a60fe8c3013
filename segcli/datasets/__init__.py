"""Layouts of data sets on disk, one file each. What every layout keeps stands here."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from segcli.core.types import Array, ConfigModel
from segcli.data.checks import Finding
from segcli.data.class_list import Mistake
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.splits import Division

__all__ = ["SPLITS", "Layout"]

SPLITS = ("train", "val", "test")


class Layout(ABC):
    """Finds the cases of a data set and reads them."""

    Config: ClassVar[type[ConfigModel]]
    """Keys of this format, which stand in the data-set file beside those of every format."""
    ndim: ClassVar[int] = 2
    """Spatial axes of one image."""
    case_size: tuple[int, ...] | None = None
    """Spatial size of every case, where they have one in common by the format itself."""
    keeps_split: ClassVar[bool] = False
    """Whether the first training writes the split file of a drawn split; `segcli data split` always does."""

    def __init__(self, config: Any, spec: DatasetSpec) -> None:
        self.config = config
        self.spec = spec

    @staticmethod
    def default_task(num_classes: int) -> str:
        """Task of a data set that does not name one."""
        return "binary" if num_classes == 1 else "multiclass"

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Keys that follow from other keys or from a file, such as `num_classes` from a list of classes.

        Args:
            values: The data-set file as typed, with its overrides.

        Returns:
            The keys that change, and what is wrong with the others.
        """
        return {}, []

    def division(self, *, fresh: bool = False) -> Division | None:
        """How the cases were drawn; None where folders or lists alone decide.

        Args:
            fresh: Draw anew instead of reading the split file.

        Raises:
            DataError: The draw or its file cannot work.
        """
        return None

    @abstractmethod
    def has(self, split: str) -> bool:
        """Whether the data set has this split at all."""

    @abstractmethod
    def cases(self, split: str) -> list[Case]:
        """Cases of a split, in natural order, without decoding an image.

        Raises:
            DataError: The folder is missing, the split is empty, or an image has no label.
        """

    @abstractmethod
    def all_cases(self, split: str) -> list[Case]:
        """Cases of a split, those with faults as well; for checks.

        Raises:
            DataError: The folder is missing.
        """

    @abstractmethod
    def read(self, case: Case) -> Sample:
        """Decode one case.

        Raises:
            DataError: A file is unreadable or does not fit the data set's description.
        """

    @abstractmethod
    def read_input(self, path: Path) -> Sample:
        """Decode an image without label, converted as those of the data set; for prediction.

        Raises:
            DataError: The file is unreadable or has the wrong channels.
        """

    def as_stored(self, answer: Array) -> Array:
        """An answer of the task, `(*S)` uint8, in the coding of the data set's own masks."""
        return answer

    @abstractmethod
    def size(self, case: Case) -> tuple[int, ...]:
        """Spatial size as stored, from the file's header."""

    @abstractmethod
    def inspect(self, split: str) -> Iterator[Finding]:
        """Faults that show without decoding: partners, headers, sizes."""

    @abstractmethod
    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode a case and tell the faults that show only then; no sample where its image cannot be used."""
