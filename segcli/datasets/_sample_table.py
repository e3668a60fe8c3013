"""Table of samples and their classes: a CSV with one line for each sample."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.data.checks import Finding

__all__ = ["SampleTable", "rows_of"]


@dataclass
class SampleTable:
    """Reads the classes of samples from a CSV.

    Args:
        path: The CSV.
        id_column: Column with the names of the samples; leading zeros may be missing.
        class_column: Column with the classes.
        folders: Names of the samples that exist.
    """

    path: Path
    id_column: str
    class_column: str
    folders: list[str] = field(default_factory=list)

    @cached_property
    def lines(self) -> list[tuple[int, str, str]]:
        """Read line, sample and class of each row.

        Raises:
            DataError: The table is missing or lacks a column.
        """
        rows = rows_of(self.path)
        for key in (self.id_column, self.class_column):
            if rows and key not in rows[0]:
                raise DataError(
                    f"`{self.path}` has no column `{key}`; it has {', '.join(map(str, rows[0]))}",
                    hint="set `id_column` and `class_column` of the data set",
                )
        return [
            (number, composed((row[self.id_column] or "").strip()), composed((row[self.class_column] or "").strip()))
            for number, row in enumerate(rows, start=2)
        ]

    @cached_property
    def class_of(self) -> dict[str, str]:
        """Return the class of each existing sample that has one."""
        known = {_bare(name): name for name in self.folders}
        return {known[_bare(sample)]: label for _, sample, label in self.lines if _bare(sample) in known and label}

    def inspect(self, root: Path, names: list[str], taken: list[str] | None) -> Iterator[Finding]:
        """Find lines without a sample, samples without a line, and classes that the data set does not have.

        Args:
            root: Folder of the samples.
            names: Classes of the data set.
            taken: Classes that are used; None for all.
        """
        yield from self._inspect_lines(names, every=taken is None)
        for name in self.folders:
            if name not in self.class_of:
                message = f"sample `{root / name}` has no class in `{self.path}`"
                yield Finding("sample_without_class", "error", root / name, message, "add a line for it")
        for name in taken or names:
            if name not in self.class_of.values():
                message = f"class `{name}` has no samples in `{self.path}`"
                hint = "add samples, or remove the class"
                yield Finding("class_without_samples", "error", self.path, message, hint)

    def _inspect_lines(self, names: list[str], *, every: bool) -> Iterator[Finding]:
        known = {_bare(name) for name in self.folders}
        seen: dict[str, tuple[int, str]] = {}
        for line, sample, label in self.lines:
            place = f"`{self.path}:{line}`"
            if _bare(sample) not in known:
                message = f"{place}: there is no sample `{sample}`"
                yield Finding("missing_sample", "warning", self.path, message, "add its folder, or remove the line")
            if not label:
                continue
            if label not in names and every:
                message = f"{place}: sample `{sample}` has the class `{label}`, which the data set does not have"
                yield Finding("unknown_class", "error", self.path, message, f"classes are {', '.join(names)}")
            first, before = seen.setdefault(_bare(sample), (line, label))
            if before != label:
                message = f"{place}: sample `{sample}` is `{label}`, but `{before}` in line {first}"
                yield Finding("two_classes", "error", self.path, message, "remove one of the lines")


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV by the names of their columns.

    Raises:
        DataError: The table is missing or cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream, skipinitialspace=True))
    except FileNotFoundError:
        raise DataError(f"no table `{path}` with the classes", hint="set `classes_csv` of the data set") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read `{path}` ({' '.join(str(error).split())[:120]})") from None


def _bare(name: str) -> str:
    """Return a sample's name in normal form and without leading zeros, which spreadsheets drop."""
    return composed(name).lstrip("0") or name
