"""Palettes of masks whose numbers count: colours that say something else than the numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segcli.data.checks import Finding
from segcli.data.classes.colors import RGB
from segcli.data.classes.counts import values_of
from segcli.data.images import Marks

__all__ = ["Palettes", "numbers_in_colours"]

BLACK = (0, 0, 0)
HINT = "if the colours are right, save the masks as RGB and state `mask_format: rgb` with a colour for each class"
SAME = "look at the masks in a viewer: programs that reduce colours number them anew in each file; save them as RGB"
FOREGROUND = "if the foreground is what a viewer does not show in black, save the masks as grey, with 0 for background"
Shown = tuple[tuple[int, int, RGB], ...]
"""Position of a class, its number in the file, and its colour in the palette, for each class of a mask."""


def numbers_in_colours(marks: Marks) -> dict[int, RGB]:
    """List the numbers of a mask with their colours in its palette; empty without a palette."""
    if marks.palette is None:
        return {}
    found: dict[int, RGB] = {}
    for number in map(int, values_of(marks.values)[0]):
        if number < len(marks.palette):
            red, green, blue = marks.palette[number].tolist()
            found[number] = (red, green, blue)
    return found


@dataclass
class Palettes:
    """Collects the colours in which masks show their numbers; several threads may add."""

    files: dict[Shown, dict[Path, None]] = field(default_factory=dict)

    def note(self, path: Path, marks: Marks, positions: Mapping[int, int] | None = None) -> None:
        """Add a mask.

        Args:
            path: The mask.
            marks: Its numbers; those without a palette are left out.
            positions: Position of the class of each number; None for background and foreground.
        """
        shown = tuple(
            (min(number, 1) if positions is None else positions[number], number, color)
            for number, color in numbers_in_colours(marks).items()
            if positions is None or number in positions
        )
        if shown:
            self.files.setdefault(shown, {})[path] = None

    def findings(self, names: Sequence[str] = (), colors: Sequence[RGB | None] = ()) -> Iterator[Finding]:
        """Find palettes that contradict the classes, or each other.

        Args:
            names: Names of the classes; none for background and foreground.
            colors: Colours of the classes, where the data set states them.
        """
        masks = sorted((min(files), shown) for shown, files in self.files.items())
        found = _of_other_class(masks, names, colors) if names else _black_foreground(masks)
        yield from [each for each in (found, _unlike(masks)) if each is not None][:1]


def _finding(path: Path, message: str, hint: str, *others: Path) -> Finding:
    return Finding("palette_differs", "warning", path, f"{message}; the numbers count, not the colours", hint, others)


def _of_other_class(
    masks: Sequence[tuple[Path, Shown]], names: Sequence[str], colors: Sequence[RGB | None]
) -> Finding | None:
    """Find a number that a mask shows in the colour of another class."""
    known = {color: at for at, color in enumerate(colors) if color is not None}
    for path, shown in masks:
        for position, number, color in shown:
            other = known.get(color, position)
            if other != position and color != colors[position]:
                message = f"mask `{path}` shows number {number}, which is `{names[position]}`, in {color}"
                return _finding(path, f"{message}, the colour of `{names[other]}`", HINT)
    return None


def _black_foreground(masks: Sequence[tuple[Path, Shown]]) -> Finding | None:
    """Find a binary mask whose foreground is black, and whose background is not."""
    for path, shown in masks:
        colors = {position: color for position, _, color in shown}
        if colors.get(1) == BLACK and colors.get(0, BLACK) != BLACK:
            number = max(number for _, number, _ in shown)
            message = f"mask `{path}` shows its background, 0, in {colors[0]} and its foreground, {number}, in black"
            return _finding(path, message, FOREGROUND)
    return None


def _unlike(masks: Sequence[tuple[Path, Shown]]) -> Finding | None:
    """Find a colour that stands for one class in a mask, and for another one in the next, or the other way round."""
    classes: dict[RGB, tuple[int, int, Path]] = {}
    painted: dict[int, tuple[RGB, int, Path]] = {}
    for path, shown in masks:
        for position, number, color in shown:
            at, before, first = classes.setdefault(color, (position, number, path))
            if at != position and first != path:
                message = f"{color} is number {before} in the palette of mask `{first}`, but {number} in `{path}`"
                return _finding(path, message, SAME, first)
            paint, before, first = painted.setdefault(position, (color, number, path))
            if paint != color and first != path and number == before:
                message = f"number {number} is {paint} in the palette of mask `{first}`, but {color} in `{path}`"
                return _finding(path, message, SAME, first)
    return None
