"""Recognise HDF5 files of volumes: one for each split."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.paths import escaped
from segcli.data.split_settings import SIDES
from segcli.datasets._hdf5_faults import shapes_in
from segcli.datasets._volumes import metadata
from segcli.files.hdf5 import HDF5
from segcli.planning.facts import Option, Question, Recognised, Sure
from segcli.planning.listing import Listing
from segcli.planning.places import stated_places
from segcli.planning.sides import side_of_name

__all__ = ["hdf5_volumes"]


def hdf5_volumes(listing: Listing, given: Mapping[str, Any], name: str) -> Recognised | None:
    """Recognise HDF5 files with images, masks and presence flags; None without HDF5 files.

    Raises:
        DataError: A file lacks one of its parts, or cannot be read.
    """
    files = [file for each in listing.hdf5.values() for file in each]
    if not files:
        return None
    shapes = {file: _shapes(file) for file in files}
    found = Recognised(listing.root, name, "", {}, "structures")
    found.state("format", "hdf5_volumes")
    found.state("paths.root", escaped(files[0].parent.absolute()))
    stated = stated_places(given)
    sides = _sides(
        files, shapes, {side: file for file in files for side, path in stated.items() if file.absolute() == path}
    )
    for side, file in sides.items():
        if file.name != f"{side}.h5":
            sure = _certainty(side, file, sides, shapes)
            found.state(f"paths.{side}", escaped(file.absolute()), f"{_count(shapes[file])} volumes", sure)
    guessed = [side for side in sides if found.sure.get(f"paths.{side}") == "guess"]
    if guessed and len(sides) > 1:
        answer = tuple(f"paths.{side}={escaped(Path(shown(file)))}" for side, file in sides.items())
        text = f"Is {', '.join(f'`{file.name}` for {side}' for side, file in sides.items())}?"
        found.questions.append(Question(f"paths.{guessed[0]}", text, (Option("yes", answer),)))
    images, masks = (shapes[sides["train"]][key] for key in ("images", "masks"))
    found.state("num_channels", 1 if len(images) == 4 else images[1])
    _state_classes(found, files[0].parent, masks[1])
    if "val" not in sides:
        found.notes.append(
            "there is no file for validation, so that no best epoch is chosen: `segcli data convert` draws one"
        )
    total = sum(_count(shapes[file]) for file in sides.values())
    found.about = f"{total} volumes in {len(sides)} HDF5 files with masks of {masks[1]} structures"
    return found


def _certainty(
    side: str, file: Path, sides: Mapping[str, Path], shapes: Mapping[Path, Mapping[str, tuple[int, ...]]]
) -> Sure:
    """Tell how sure it is that a file is for a split: by its name, or because training has by far the most volumes."""
    if side_of_name(file.stem) == side:
        return "certain"
    most = _count(shapes[sides["train"]])
    others = [_count(shapes[other]) for name, other in sides.items() if name != "train"]
    return "likely" if all(most >= 2 * count for count in others) else "guess"


def _count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return shapes["images"][0]


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with HDF5(path).reading() as file:
        found = shapes_in(file, Path(shown(path)))
    if len(found["images"]) not in (4, 5) or len(found["masks"]) != 5:
        sizes = "x".join(map(str, found["images"])), "x".join(map(str, found["masks"]))
        message = f"`{shown(path)}`: `images` are {sizes[0]}, `masks` {sizes[1]}"
        raise DataError(message, hint="they must have 4 (or 5) and 5 axes")
    return found


def _sides(
    files: list[Path], shapes: Mapping[Path, Mapping[str, tuple[int, ...]]], stated: dict[str, Path]
) -> dict[str, Path]:
    """Assign a file to each split: as stated, by name, and by size where names say nothing.

    Raises:
        DataError: There are more files than splits.
    """
    if len(files) > len(SIDES):
        raise DataError(f"{len(files)} HDF5 files, but there are three splits", hint="name a folder of at most three")
    sides = stated or {side: file for file in files if (side := side_of_name(file.stem)) is not None}
    rest = [file for file in files if file not in sides.values()]
    rest.sort(key=lambda file: -_count(shapes[file]))  # of equal ones, the first in natural order
    for side in SIDES:
        if side not in sides and rest:
            sides[side] = rest.pop(0)
    return {side: sides[side] for side in SIDES if side in sides}


def _state_classes(found: Recognised, folder: Path, count: int) -> None:
    about: dict[str, Any] = {}
    with suppress(DataError):
        about = metadata(folder)
    names = about.get("structure_names")
    if isinstance(names, list) and len(names) == count:
        found.state("classes", [str(name) for name in names], "names of `metadata.json`")
    else:
        classes = [f"structure_{number}" for number in range(1, count + 1)]
        found.state("classes", classes, "no names beside the files; rename them as you like, the order counts")
    if isinstance(about.get("spacing_mm"), list):
        found.state("spacing_mm", [float(value) for value in about["spacing_mm"]], "spacing of `metadata.json`")
