"""Classes of a mask: their names, colours and numbers, and which of them do not count."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from segcli.core.errors import DataError, nearest
from segcli.core.types import Array, ConfigModel
from segcli.data.colors import MAX_COLORS, RGB, UNKNOWN
from segcli.data.settings import DatasetSpec

__all__ = ["ClassList", "IgnoredClass", "Mistake", "class_names", "completed_classes"]

Mistake = tuple[str, str, str | None]
"""Key, what is wrong with it, and its mend."""
COLUMNS = ("id", "name", "r", "g", "b")
NO_NUMBER = -1
Level = Annotated[int, Field(ge=0, le=255)]


class IgnoredClass(ConfigModel):
    """A class whose pixels do not count."""

    name: str
    """Its name."""
    color: Annotated[list[Level], Field(min_length=3, max_length=3)] | None = None
    """Its colour in RGB."""
    number: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Its number in index masks."""


@dataclass(frozen=True)
class ClassList:
    """All classes that masks may hold: those that count first, then those that are ignored."""

    names: tuple[str, ...]
    colors: list[RGB]
    """Colour of each class; empty where masks hold numbers."""
    numbers: list[int]
    """Number of each class in index masks."""
    num_counted: int

    @classmethod
    def of(
        cls, spec: DatasetSpec, ignored: Sequence[str | IgnoredClass], numbers: list[int] | None, *, colored: bool
    ) -> "ClassList":
        """Classes of a data set.

        Raises:
            DataError: There are none, a class lacks its colour, or two share one.
        """
        counted = spec.classes
        left_out = [entry if isinstance(entry, IgnoredClass) else IgnoredClass(name=entry) for entry in ignored]
        names = (*(entry.name for entry in counted), *(entry.name for entry in left_out))
        if not counted:
            raise DataError(
                f"data set `{spec.name}` has no classes",
                hint="set `classes: [{name: road, color: [128, 64, 128]}, ...]`, or `classes_file: classes.csv`",
            )
        if len(counted) == 1:
            raise DataError(
                f"data set `{spec.name}` has one class that counts, `{counted[0].name}`, and nothing to tell it from",
                hint="name the background as a class too, instead of ignoring it",
            )
        if len(names) > MAX_COLORS:
            raise DataError(f"data set `{spec.name}` has {len(names)} classes, {MAX_COLORS} are possible")
        values = [*(numbers or range(len(counted))), *(NO_NUMBER if e.number is None else e.number for e in left_out)]
        colors = [*(entry.color for entry in counted), *(entry.color for entry in left_out)]
        if not colored:
            return cls(names, [], values, len(counted))
        for name, color in zip(names, colors, strict=True):
            if color is None:
                raise DataError(
                    f"class `{name}` of data set `{spec.name}` has no colour",
                    hint=f"write `{{name: {name}, color: [R, G, B]}}`, or set `mask_format: index`",
                )
        painted = [(int(r), int(g), int(b)) for r, g, b in (color for color in colors if color is not None)]
        for position, paint in enumerate(painted):
            if paint in painted[:position]:
                other = names[painted.index(paint)]
                raise DataError(
                    f"the classes `{other}` and `{names[position]}` of data set `{spec.name}` share the colour {paint}",
                    hint="give each class a colour of its own",
                )
        return cls(names, painted, values, len(counted))

    def maps(self, positions: Array) -> dict[str, Array]:
        """`mask` with the index of each class that counts, and `valid`; 0 in both where a pixel does not count."""
        valid = positions < self.num_counted
        return {"mask": positions * valid, "valid": valid.astype(np.uint8)}

    def positions(self, labels: Array) -> Array:
        """Position in this list for each number of an index mask; `UNKNOWN` where there is no such class."""
        table = np.full(1 << 16, UNKNOWN, np.uint8)
        for position, number in enumerate(self.numbers):
            if number != NO_NUMBER:
                table[number] = position
        if labels.dtype.itemsize > 2 or labels.dtype.kind == "i":  # TIFF may hold negative and larger numbers
            possible = (labels >= 0) & (labels < len(table))
            return np.where(possible, table[np.where(possible, labels, 0)], UNKNOWN).astype(np.uint8)
        return table[labels]


def class_names(spec: DatasetSpec) -> list[str]:
    """Name of each class that counts, as stated or by number."""
    stated = [entry.name for entry in spec.classes]
    return stated or [f"class {number}" for number in range(spec.num_classes)]


# ---- from the data-set file


def completed_classes(values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    """Keys of a data-set file that follow from others: classes of the CSV, those that are ignored taken out.

    Args:
        values: The data-set file as typed, paths made absolute.

    Returns:
        The keys that change, and what is wrong.
    """
    given, file, ignore = values.get("classes"), values.get("classes_file"), values.get("ignore")
    changes: dict[str, Any] = {}
    entries: list[dict[str, Any]] = []
    if isinstance(file, str | Path):
        if given:
            message = "stands beside `classes`, and only one can say what the classes are"
            return {}, [("classes_file", message, "remove one of them (`null` on the command line)")]
        try:
            entries = _read(_located(file, values))
        except DataError as error:
            return {}, [("classes_file", error.message, error.hint)]
        changes["classes_file"] = None
    elif isinstance(given, list):
        entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in given]
        entries = [{**entry, "number": number} for number, entry in enumerate(entries)]
    names = [entry.get("name") for entry in entries]
    twice = next((name for position, name in enumerate(names) if name is not None and name in names[:position]), None)
    if twice is not None:
        return {}, [("classes", f"names `{twice}` twice", "give each class a name of its own")]
    left_out: list[Any] = []
    for entry in ignore if isinstance(ignore, list) else []:
        if isinstance(entry, str) and entry not in names:
            close = nearest(entry, [str(name) for name in names])
            hint = f"did you mean `{close}`?" if close else f"there are {', '.join(map(str, names))}"
            return {}, [("ignore", f"names `{entry}`, which is no class", hint)]
        left_out.append(entries[names.index(entry)] if isinstance(entry, str) else entry)
    if not entries:
        return {}, []
    counted = [entry for entry in entries if entry not in left_out]
    if file is None and len(counted) == len(entries):
        return _number(values, len(counted))
    numbers = [entry["number"] for entry in counted]
    changes |= {
        "classes": [{key: value for key, value in entry.items() if key != "number"} for entry in counted],
        "ignore": left_out,
        "numbers": None if numbers == list(range(len(counted))) else numbers,
    }
    more, mistakes = _number(values, len(counted))
    return changes | more, mistakes


def _number(values: dict[str, Any], count: int) -> tuple[dict[str, Any], list[Mistake]]:
    stated = values.get("num_classes", count)
    if stated != count:
        message = f"is {stated}, and there are {count} classes that count"
        return {}, [("num_classes", message, "leave it out: it follows from the classes")]
    return {"num_classes": count}, []


def _located(file: str | Path, values: dict[str, Any]) -> Path:
    paths = values.get("paths")
    root = paths.get("root") if isinstance(paths, dict) else None
    candidates = [Path(folder) / file for folder in (root, ".") if isinstance(folder, str | Path)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise DataError(f"no file `{file}`", hint=f"looked for {' and '.join(f'`{path}`' for path in candidates)}")
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    """Classes of a CSV with the columns `id`, `name`, `r`, `g`, `b`, in the order of their ids."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read `{path}` ({' '.join(str(error).split())[:120]})") from None
    entries = []
    for line, row in enumerate(rows, start=2):
        try:
            number, *color = (int(row[column]) for column in COLUMNS if column != "name")
            name = row["name"].strip()
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DataError(
                f"`{path}:{line}` has no `id`, `name`, `r`, `g`, `b` of whole numbers",
                hint="the first line is `id,name,r,g,b`, a class is `3,road,128,64,128`",
            ) from None
        if not all(0 <= level <= 255 for level in color) or number < 0:
            raise DataError(f"`{path}:{line}`: colours go from 0 to 255, and ids from 0 on")
        entries.append({"name": name, "color": color, "number": number})
    for key in ("name", "number"):
        values = [entry[key] for entry in entries]
        twice = next((value for position, value in enumerate(values) if value in values[:position]), None)
        if twice is not None:
            raise DataError(f"`{path}` has the {'id' if key == 'number' else key} `{twice}` twice")
    if not entries:
        raise DataError(f"`{path}` holds no classes", hint="a class is a line such as `3,road,128,64,128`")
    return sorted(entries, key=lambda entry: int(entry["number"]))
