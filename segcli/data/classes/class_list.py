"""Classes of a mask: their names, colours and numbers, and which of them are ignored."""

import colorsys
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from segcli.core.errors import ConfigError, DataError, nearest, repeated
from segcli.core.paths import is_file
from segcli.core.text import read_table
from segcli.core.types import Array, ConfigModel
from segcli.data.classes.colors import MAX_COLORS, RGB, UNKNOWN
from segcli.data.classes.mistakes import FAR, MISTAKES, difference
from segcli.data.settings import ClassSpec, DatasetSpec

__all__ = ["NUMBERS", "ClassList", "IgnoredClass", "Mistake", "class_colors", "class_names", "completed_classes"]

Mistake = tuple[str, str, str | None]
"""Key, message and hint."""
NO_NUMBER = -1
NUMBERS = 1 << 16
"""Index masks have at most 16 bits."""
FIRST_LINE = "the first line is `id,name,r,g,b`; each class is a line such as `3,road,128,64,128`"
FIRST: tuple[RGB, ...] = (
    (255, 230, 0),
    (150, 205, 255),
    (200, 90, 190),
    (255, 145, 0),
    (0, 150, 160),
    (255, 180, 205),
    (150, 110, 70),
    (175, 150, 255),
    (100, 250, 240),
    (130, 75, 130),
)
"""Colours of the first classes: yellow, light blue, purple, orange, teal, pink, brown, violet, cyan, plum."""
Level = Annotated[int, Field(ge=0, le=255)]


class IgnoredClass(ConfigModel):
    """Names a class whose pixels do not count."""

    name: str
    """Name of the class."""
    color: Annotated[list[Level], Field(min_length=3, max_length=3)] | None = None
    """Colour of the class in RGB."""
    number: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Number of the class in index masks."""


@dataclass(frozen=True)
class ClassList:
    """Lists all classes that masks may hold: first the counted ones, then the ignored ones."""

    names: tuple[str, ...]
    colors: list[RGB]
    """Colour of each class; empty where masks hold numbers."""
    numbers: list[int]
    """Number of each class in index masks."""
    num_counted: int
    stated: tuple[RGB | None, ...] = ()
    """Colour that the data set states for each class, whatever masks hold."""

    @classmethod
    def of(
        cls, spec: DatasetSpec, ignored: Sequence[str | IgnoredClass], numbers: list[int] | None, *, colored: bool
    ) -> "ClassList":
        """List the classes of a data set.

        Raises:
            ConfigError: There are fewer than two classes, a class has no colour or number, or two classes share one.
        """
        counted = spec.classes
        if not counted and spec.num_classes > 1 and not colored:
            counted = [ClassSpec(name=name) for name in class_names(spec)]
        left_out = [entry if isinstance(entry, IgnoredClass) else IgnoredClass(name=entry) for entry in ignored]
        names = (*(entry.name for entry in counted), *(entry.name for entry in left_out))
        if not counted:
            raise ConfigError(
                f"data set `{spec.name}` has no classes",
                hint="set `classes: [{name: road, color: [128, 64, 128]}, ...]`, or `classes_file: classes.csv`",
            )
        if len(counted) == 1:
            raise ConfigError(
                f"data set `{spec.name}` has only one class that counts, `{counted[0].name}`; at least two are needed",
                hint="list the background under `classes` too, instead of ignoring it",
            )
        if len(names) > MAX_COLORS:
            raise ConfigError(f"data set `{spec.name}` has {len(names)} classes, at most {MAX_COLORS} are possible")
        values = [*(numbers or range(len(counted))), *(NO_NUMBER if e.number is None else e.number for e in left_out)]
        colors = [*(entry.color for entry in counted), *(entry.color for entry in left_out)]
        if not colored:
            _check_numbers(spec.name, names, values)
            stated = tuple(None if color is None else (color[0], color[1], color[2]) for color in colors)
            return cls(names, [], values, len(counted), stated)
        for name, color in zip(names, colors, strict=True):
            if color is None:
                raise ConfigError(
                    f"class `{name}` of data set `{spec.name}` has no colour",
                    hint=f"write `{{name: {name}, color: [R, G, B]}}`, or set `mask_format: index`",
                )
        painted = [(int(r), int(g), int(b)) for r, g, b in (color for color in colors if color is not None)]
        for position, paint in enumerate(painted):
            if paint in painted[:position]:
                other = names[painted.index(paint)]
                raise ConfigError(
                    f"the classes `{other}` and `{names[position]}` of data set `{spec.name}` share the colour {paint}",
                    hint="give each class a colour of its own",
                )
        return cls(names, painted, values, len(counted))

    def maps(self, positions: Array) -> dict[str, Array]:
        """Make `mask`, which holds class indices, and `valid`; both are 0 where a pixel does not count."""
        valid = (positions < self.num_counted).view(np.uint8)
        return {"mask": positions * valid, "valid": valid}

    def positions(self, labels: Array) -> Array:
        """Look up the position in this list for each pixel of an index mask; `UNKNOWN` for the number of no class."""
        table = np.full(NUMBERS, UNKNOWN, np.uint8)
        table[self.numbers] = np.arange(len(self.numbers))
        if labels.dtype.itemsize > 2 or labels.dtype.kind == "i":  # TIFF may hold negative and larger numbers
            possible = (labels >= 0) & (labels < NUMBERS)
            return np.where(possible, table[np.where(possible, labels, 0)], UNKNOWN).astype(np.uint8)
        return table[labels]


def _check_numbers(dataset: str, names: Sequence[str], numbers: list[int]) -> None:
    """Check that each class has a number of its own."""
    for position, number in enumerate(numbers):
        if number == NO_NUMBER:
            raise ConfigError(
                f"class `{names[position]}` of data set `{dataset}` has no number",
                hint=f"write `ignore: [{{name: {names[position]}, number: 255}}]`, or list it under `classes`",
            )
        if number in numbers[:position]:
            other = names[numbers.index(number)]
            raise ConfigError(
                f"the classes `{other}` and `{names[position]}` of data set `{dataset}` share the number {number}",
                hint="give each class a number of its own",
            )


def class_names(spec: DatasetSpec) -> list[str]:
    """Return the name of each class that counts, as given or made from its number."""
    stated = [entry.name for entry in spec.classes]
    return stated or [f"class {number}" for number in range(spec.num_classes)]


def class_colors(spec: DatasetSpec) -> list[RGB]:
    """Return the colour of each class that counts: as given, or one that no other class has."""
    stated = [None if entry.color is None else tuple(entry.color) for entry in spec.classes]
    stated += [None] * (spec.num_classes - len(stated))
    free = (color for color in _distinct() if color not in stated)
    return [next(free) if color is None else (color[0], color[1], color[2]) for color in stated]


def _distinct() -> Iterator[RGB]:
    """Generate endless colours that are easy to distinguish, from each other and from those of mistakes.

    After `FIRST`, hues follow by the golden ratio, in three brightnesses.
    """
    yield from FIRST
    for number in itertools.count():
        red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1.0, (0.85, 0.55)[number // 9 % 2], 1 - number % 3 / 4)
        color = round(255 * red), round(255 * green), round(255 * blue)
        if color not in FIRST and min(difference(color, mistake) for mistake in MISTAKES) >= FAR:
            yield color


# ---- from the data-set file


def completed_classes(values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    """Derive the keys that follow from others: the classes of the CSV, without the ignored ones.

    Args:
        values: Keys of the data-set file as written, with absolute paths.

    Returns:
        The keys that change, and the mistakes found.
    """
    try:
        entries = _listed(values)
        left_out = _ignored(values, [entry.get("name") for entry in entries])
        if not entries:
            return {}, []
        # an ignored class given by its name alone is replaced by its whole entry
        left_out = [next((e for e in entries if e.get("name") == ignored), ignored) for ignored in left_out]
        counted = [entry for entry in entries if entry not in left_out]
        if values.get("num_classes", len(counted)) != len(counted):
            message = f"is {values['num_classes']}, but {len(counted)} classes count"
            raise _Wrong("num_classes", message, "remove `num_classes`: it follows from the classes")
    except _Wrong as wrong:
        return {}, [wrong.mistake]
    if values.get("classes_file") is None and len(counted) == len(entries):
        return {"num_classes": len(counted)}, []
    numbers = [entry["number"] for entry in counted]
    return {
        "num_classes": len(counted),
        "classes": [{key: value for key, value in entry.items() if key != "number"} for entry in counted],
        "classes_file": None,
        "ignore": left_out,
        "numbers": None if numbers == list(range(len(counted))) else numbers,
    }, []


class _Wrong(Exception):  # noqa: N818 - becomes one of several mistakes that are reported together
    def __init__(self, key: str, message: str, hint: str | None) -> None:
        super().__init__(message)
        self.mistake: Mistake = (key, message, hint)


def _listed(values: dict[str, Any]) -> list[dict[str, Any]]:
    """List every class with its `number`, from the CSV or from `classes`; empty if `classes` is not a list."""
    given, file, numbers = values.get("classes"), values.get("classes_file"), values.get("numbers")
    one_of_both = "remove one of them (`null` on the command line)"
    if isinstance(file, str | Path):
        if given:
            raise _Wrong("classes_file", "cannot be combined with `classes`: both list the classes", one_of_both)
        if numbers:
            raise _Wrong("numbers", "cannot be combined with `classes_file`, whose ids are the numbers", one_of_both)
        try:
            return _read(_located(file, values))
        except DataError as error:
            raise _Wrong("classes_file", error.message, error.hint) from None
    if not isinstance(given, list):
        return []
    numbers = numbers if isinstance(numbers, list) else range(len(given))
    if len(numbers) != len(given):
        message = f"has {len(numbers)} numbers for {len(given)} classes"
        raise _Wrong("numbers", message, "give one number for each of `classes`, in their order")
    entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in given]
    twice = repeated([entry["name"] for entry in entries if "name" in entry])
    if twice is not None:
        raise _Wrong("classes", f"names `{twice}` twice", "give each class a name of its own")
    return [{**entry, "number": number} for entry, number in zip(entries, numbers, strict=True)]


def _ignored(values: dict[str, Any], names: list[Any]) -> list[Any]:
    """Return the entries of `ignore`, after checking that each name is a class."""
    ignore = values.get("ignore")
    for entry in ignore if isinstance(ignore, list) else []:
        if isinstance(entry, str) and entry not in names:
            close = nearest(entry, [str(name) for name in names])
            hint = f"did you mean `{close}`?" if close else f"classes: {', '.join(map(str, names))}"
            raise _Wrong("ignore", f"names `{entry}`, which is not a class", hint if names else None)
    return ignore if isinstance(ignore, list) else []


def _located(file: str | Path, values: dict[str, Any]) -> Path:
    paths = values.get("paths")
    root = paths.get("root") if isinstance(paths, dict) else None
    candidates = [Path(folder) / file for folder in (root, ".") if isinstance(folder, str | Path)]
    found = next((path for path in candidates if is_file(path)), None)
    if found is None:
        raise DataError(f"no file `{file}`", hint=f"looked for {' and '.join(f'`{path}`' for path in candidates)}")
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    """Read the classes of a CSV with the columns `name`, `r`, `g`, `b`; without `id`, the lines are numbered."""
    try:
        columns, rows = read_table(path)
    except OSError as error:
        raise DataError(f"cannot read `{path}` ({error.strerror or error})") from None
    missing = [key for key in ("name", *"rgb") if key not in columns]
    if rows and missing:
        raise DataError(f"`{path}` has no column `{missing[0]}`; it has {', '.join(columns)}", hint=FIRST_LINE)
    entries = []
    for position, row in enumerate(rows):
        try:
            number = int(row.cells["id"]) if "id" in row.cells else position
            color = [int(row.cells[channel]) for channel in "rgb"]
        except ValueError:
            message = f"`{path}:{row.line}` is not a class with `id`, `name`, `r`, `g`, `b`"
            raise DataError(message, hint=FIRST_LINE) from None
        name = row.cells["name"]
        if not all(0 <= level <= 255 for level in color) or not 0 <= number < NUMBERS:
            raise DataError(f"`{path}:{row.line}`: colours must be from 0 to 255, ids from 0 to {NUMBERS - 1}")
        entries.append({"name": name, "color": color, "number": number})
    for key in ("name", "number"):
        twice = repeated([entry[key] for entry in entries])
        if twice is not None:
            raise DataError(f"`{path}` has the {'id' if key == 'number' else key} `{twice}` twice")
    if not entries:
        raise DataError(f"`{path}` holds no classes", hint="each class is a line such as `3,road,128,64,128`")
    return sorted(entries, key=lambda entry: int(entry["number"]))
