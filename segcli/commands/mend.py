"""`segcli data check --fix`: a corrected copy of 2D images and masks, as far as mending is safe."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from segcli.config.schema import DatasetSection
from segcli.core.errors import ConfigError, DataError
from segcli.core.files import file_above, refuse_occupied, shown, told_when_full, write_text
from segcli.core.names import composed
from segcli.data.faults.mending import sharpened
from segcli.data.images import read_image, read_marks
from segcli.data.samples import Case
from segcli.datasets import SPLITS, Layout
from segcli.datasets._pictures import Pictures
from segcli.engine.each_case import each_case
from segcli.engine.events import Listener
from segcli.files import read_header
from segcli.files.png import PNG
from segcli.report.mended import Mended

__all__ = ["mend", "refuse_copy"]

LIST = "mended.txt"
"""File with what was done."""
UPRIGHT = 1


@dataclass
class _Changes:
    """Collects what was done to each file, which files could not be mended, and which are not there."""

    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)


def mend(dataset: DatasetSection, target: Path, *, listener: Listener) -> Mended:
    """Write a corrected copy of the images and masks of a data set; the original stays as it is.

    Images and masks are turned upright, a declared alpha channel is dropped, binary masks are written as 0 and 255
    (those with smoothed outlines are cut at half of their largest value), and names get the normal form of Unicode.
    All other files of the data set are copied as they are.

    Raises:
        ConfigError: The folder holds files, or lies in the data set.
        DataError: The layout has nothing that can be mended safely, or a file cannot be written.
    """
    layout = refuse_copy(dataset, target)
    root = layout.root.absolute()
    cases = _cases(layout)
    for path in (path for case in cases for path in case.files):
        plain = Path(os.path.normpath(path.absolute()))  # without `..`, and links are not followed
        if not plain.is_relative_to(os.path.normpath(root)):
            raise DataError(f"`{path}` lies outside of `{root}`", hint="copy it into the folder of the data set")
    listener.stage("mending", len(cases))
    two_values = dataset.num_classes == 1 or bool(layout.classes.suffixes)
    binary = two_values and getattr(layout.config, "mask_threshold", None) is None
    with told_when_full(target):
        known = {path.absolute() for case in cases for path in case.files}
        _copy_others(root, target, known)
        results = each_case(lambda case: _mend_case(case, layout, target, binary=binary), cases, listener)
        done = [line for result in results for line in result.done]
        left = [line for result in results for line in result.left]
        out = [line for result in results for line in result.out]
        out += [
            f"{shown(path)}: not copied: it belongs to no image of the data set" for path in _strangers(cases, known)
        ]
        write_text(target / LIST, "".join(f"{line}\n" for line in [*done, *left, *out]) or "nothing had to be mended\n")
    return Mended(target, len(cases), done, left, out)


def refuse_copy(dataset: DatasetSection, target: Path) -> Pictures:
    """Refuse a folder to which no corrected copy can be written, before the data are read; return the layout.

    Raises:
        ConfigError: The folder is a file, holds files, or lies in the data set.
        DataError: The layout has nothing that can be mended safely.
    """
    layout: Layout = dataset.build()
    if not isinstance(layout, Pictures):
        raise DataError(
            f"`format: {dataset.spec.format}` has nothing that can be mended without knowing what is meant",
            hint="correct the files by the hints of `segcli data check`",
        )
    root, place = layout.root.resolve(), target.resolve()
    if place.is_relative_to(root) or root.is_relative_to(place):
        raise ConfigError(f"`{target}` and the data set `{root}` lie in each other", hint="give another folder")
    above = file_above(place)
    if above is not None:
        raise ConfigError(f"cannot write `{target}`: `{above}` is a file", hint="give a folder in a folder")
    refuse_occupied(target, "give another folder")
    return layout


def _cases(layout: Layout) -> list[Case]:
    found: dict[Path, Case] = {}
    for split in SPLITS:
        for case in layout.all_cases(split) if layout.has(split) else []:
            found.setdefault(case.image, case)
    return list(found.values())


def _copy_others(root: Path, target: Path, known: set[Path]) -> None:
    """Copy lists of names, tables of classes and the split file."""
    target.mkdir(parents=True, exist_ok=True)
    for path in root.iterdir():
        if path.is_file() and path not in known and path.suffix.lower() in (".csv", ".txt", ".yaml", ".yml", ".json"):
            shutil.copyfile(path, target / composed(path.name))


def _strangers(cases: list[Case], known: set[Path]) -> list[Path]:
    """Find files beside images and masks that belong to no case."""
    folders = dict.fromkeys(path.parent for case in cases for path in case.files)
    there = (path for folder in folders for path in sorted(folder.iterdir()))
    return [path for path in there if path.is_file() and not path.name.startswith(".") and path.absolute() not in known]


def _mend_case(case: Case, layout: Pictures, target: Path, *, binary: bool) -> _Changes:
    changes = _Changes()
    of_masks = getattr(layout.config, "label_extensions", None)
    for path in case.files:
        goal = target / composed(path.absolute().relative_to(layout.root.absolute()).as_posix())
        goal.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # masks of single objects
            shutil.copytree(path, goal)
            continue
        try:
            is_image = path in case.images
            key = "label_extensions" if of_masks and path in case.labels else "extensions"
            done = list(_mended(path, goal, layout, key, is_image=is_image, cut=binary or path == case.fov))
        except DataError as error:
            done = []
            if path.is_file():
                changes.left.append(f"{shown(path)}: copied as it is: {error.message}")
                shutil.copyfile(path, goal)
            else:  # a link that leads nowhere, or a named pipe
                changes.out.append(f"{shown(path)}: not copied: {error.message}")
        if goal.name != path.name and goal.stem != path.stem:
            done.append("name in the normal form of Unicode")
        changes.done += [f"{shown(path)}: {', '.join(done)}"] if done else []
    return changes


def _mended(path: Path, goal: Path, layout: Pictures, key: str, *, is_image: bool, cut: bool) -> Iterator[str]:
    """Write a file corrected, or copy it; tell what was done. `key` lists the extensions of such files."""
    header = read_header(path, 2, layout.page)
    done = ["turned upright"] if UPRIGHT < header.orientation <= 8 else []
    if is_image:
        done += ["alpha channel dropped"] if header.has_alpha else []
        pixels = read_image(path, layout.page) if done else None
    else:
        marks = read_marks(path, layout.page)
        sharp = sharpened(marks.values) if cut else None
        done += [] if sharp is None else [sharp[1]]
        pixels = sharp[0] if sharp is not None else marks.values if done else None
    if pixels is None:
        shutil.copyfile(path, goal)
        return
    pixels = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if pixels.dtype.name not in ("uint8", "uint16") or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise DataError(f"{', '.join(done)} cannot be stored in PNG", hint="")
    if "png" not in {each.lower().lstrip(".") for each in getattr(layout.config, key)}:
        raise DataError(f"{', '.join(done)} needs PNG, which `{key}` does not list", hint="")
    PNG.write(goal.with_suffix(".png"), pixels, synced=False)
    yield from done
    if path.suffix.lower() != ".png":
        yield "written as PNG"
