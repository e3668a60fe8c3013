"""Table of samples and their classes: a CSV with one line for each sample."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.files import typed
from segcli.core.names import composed, existing, printable
from segcli.core.paths import expanded
from segcli.core.text import Row, read_table
from segcli.core.types import ConfigModel
from segcli.data.checks import Finding
from segcli.data.classes.class_list import Mistake

__all__ = ["SampleTable", "check_root", "classes_in", "classes_of_table", "refuse_other_classes", "table_in"]

NO_VALUE = {"nan", "na", "n/a", "null", "#n/a", "?"}
"""Words that programs write where there is no value."""
NUMBER = re.compile(r"\d+\.0+")
"""A whole number as programs write it that take it for a fraction."""


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
        rows = _rows_of(self.path, self.id_column, self.class_column)
        return [(row.line, composed(row.cells[self.id_column]), composed(row.cells[self.class_column])) for row in rows]

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
        yield from self._doubtful_names(taken or names)
        for name in self.folders:
            if name not in self.class_of:
                message = f"sample `{root / name}` has no class in `{self.path}`"
                yield Finding("sample_without_class", "error", root / name, message, "add a line for it", (self.path,))
        for name in taken or names:
            if name not in self.class_of.values():
                message = f"class `{name}` has no samples in `{self.path}`"
                hint = "add samples, or remove the class"
                yield Finding("class_without_samples", "error", self.path, message, hint)

    def _doubtful_names(self, names: list[str]) -> Iterator[Finding]:
        """Find classes whose names differ only in capital letters or spaces, and names that stand for no value."""
        alike: dict[str, list[str]] = {}
        for name in names:
            alike.setdefault("".join(name.casefold().split()), []).append(name)
        for key, same in alike.items():
            if len(same) > 1:
                shown = " and ".join(f"`{name}`" for name in same)
                message = f"the classes {shown} of `{self.path}` differ only in capital letters or spaces"
                hint = f"if they are one class, write it alike: {self._counted(same)}"
                yield Finding("similar_classes", "warning", self.path, message, hint)
            if key in NO_VALUE:
                message = f"{self._counted(same)} in `{self.path}`, which is taken for a class"
                others = ", ".join(name for name in names if name not in same)
                hint = f"if it means that the class is not known, set `class_filter: [{others}]`"
                yield Finding("class_without_value", "warning", self.path, message, hint)

    def _counted(self, names: list[str]) -> str:
        """Count the samples of classes, such as "2 samples are `Big`"."""
        counts = Counter(self.class_of.values())
        return ", ".join(f"{counts[name]} sample{'s are' if counts[name] != 1 else ' is'} `{name}`" for name in names)

    def _inspect_lines(self, names: list[str], *, every: bool) -> Iterator[Finding]:
        known = {_bare(name) for name in self.folders}
        seen: dict[str, tuple[int, str]] = {}
        for line, sample, label in self.lines:
            place = f"`{self.path}:{line}`"
            if not sample:
                message = f"{place} has no name of a sample in the column `{self.id_column}`"
                yield Finding("missing_sample", "warning", self.path, message, "write its name, or remove the line")
            elif _bare(sample) not in known:
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


def table_and_columns(values: Mapping[str, Any], root: Path, config: type[ConfigModel]) -> tuple[Path, str, str]:
    """Find the path of the table, and the columns of samples and of classes.

    Args:
        values: Keys of the data set.
        root: Folder of the samples.
        config: Shape of the keys, with their defaults.

    Raises:
        DataError: The path of the table has a variable that is not set.
    """
    table, samples, classes = (
        values.get(key, config.model_fields[key].default) for key in ("classes_csv", "id_column", "class_column")
    )
    return table_in(root, table), str(samples), str(classes)


def table_in(root: Path, given: str | Path) -> Path:
    """Find the table; text is expanded as every other path of a config, a relative path begins at `root`.

    Raises:
        DataError: A variable in the text is not set.
    """
    try:
        return existing(root, str(given) if isinstance(given, Path) else expanded(given))
    except ValueError as error:
        raise DataError(f"`{given}`: {error}") from None


def classes_in(path: Path, id_column: str, class_column: str) -> list[str]:
    """List the classes of a table in alphabetical order.

    Raises:
        DataError: The table is missing, cannot be read, or lacks a column.
    """
    return sorted({composed(row.cells[class_column]) for row in _rows_of(path, id_column, class_column)} - {""})


def refuse_other_classes(path: Path, id_column: str, class_column: str, *, names: Sequence[str]) -> None:
    """Refuse a table with classes that a run did not learn; their samples would be left out without a word.

    Args:
        path: The table.
        id_column: Column of the samples.
        class_column: Column of the classes.
        names: Classes of the run.

    Raises:
        DataError: There is another class, or the table cannot be read.
    """
    known = [composed(name) for name in names]
    other = [name for name in classes_in(path, id_column, class_column) if name not in known]
    if other:
        raise DataError(
            f"`{path}` has the class{'es' if len(other) > 1 else ''} {', '.join(map(printable, other))}, but the run "
            f"learned {', '.join(names)}",
            hint="name the classes as in the training, or set `dataset.class_filter` to those to score",
        )


def _rows_of(path: Path, *needed: str) -> list[Row]:
    """Read the rows of a table that has the needed columns.

    Raises:
        DataError: The table is missing, cannot be read, or lacks a column.
    """
    try:
        columns, rows = read_table(path)
    except FileNotFoundError:
        raise DataError(f"no table `{path}` with the classes", hint="set `classes_csv` of the data set") from None
    except OSError as error:
        raise DataError(f"cannot read `{path}` ({error.strerror or error})") from None
    for key in needed:
        if key not in columns:
            there = f"it has {', '.join(columns)}" if columns else "it is empty"
            hint = "the first line names the columns: add it, or set `id_column` and `class_column` of the data set"
            raise DataError(
                f"`{path}` has no column `{key}`; {there}",
                hint=hint if len(columns) > 1 else "separate the columns by commas, semicolons or tabs",
            )
    return rows


def _bare(name: str) -> str:
    """Return a sample's name in normal form, without the leading zeros that spreadsheets drop and the `.0` they add.

    Example:
        >>> _bare("0012"), _bare("12.0"), _bare("0")
        ('12', '12', '0')
    """
    whole = composed(name).partition(".")[0] if NUMBER.fullmatch(name) else composed(name)
    return whole.lstrip("0") or whole


def check_root(root: Path, sample: str | None) -> None:
    """Refuse a data set without its folder, which `segcli data sample` may make."""
    if not root.is_dir():
        hint = f"make it with `segcli data sample {sample} {typed(root)}`" if sample else "set `dataset.paths.root`"
        raise DataError(f"no folder `{root}` with the samples", hint=hint)


def classes_of_table(values: dict[str, Any], keys: type[ConfigModel]) -> tuple[list[dict[str, str]], list[Mistake]]:
    """Read the classes of the CSV, in alphabetical order, or find why it cannot be read."""
    paths = values.get("paths")
    root = paths.get("root") if isinstance(paths, dict) else None
    if not isinstance(root, str | Path):
        return [], []
    blamed, chosen = "paths", values.get("class_filter")
    try:
        check_root(Path(root), values.get("sample"))
        blamed = "classes_csv"
        table, *columns = table_and_columns(values, Path(root), keys)
        found = classes_in(table, *columns)
    except DataError as error:
        return [], [(blamed, error.message, error.hint)]
    if len(found) < 2 and "num_classes" not in values and values.get("task") in (None, "classification"):
        named = f"names one class, `{found[0]}`" if found else "names no class"
        message = f"`{table}` {named}, but a classification tells at least two apart"
        return [], [(blamed, message, f"write the class of each sample into the column `{columns[1]}`")]
    return [{"name": name} for name in (chosen if isinstance(chosen, list) else found)], []
