"""Masks of which each class has a file of its own, such as `p1_MA.tif` and `p1_HE.tif`, or `liver.nii.gz`."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from segcli.core.errors import repeated
from segcli.core.names import composed, existing, without_affixes
from segcli.core.types import ConfigModel
from segcli.data.checks import Finding
from segcli.data.classes.class_files import ClassOverlap
from segcli.data.classes.class_list import Mistake
from segcli.data.samples import Case
from segcli.datasets._case_folders import places
from segcli.datasets._channel_files import ChannelFiles, spare_files, stem

__all__ = [
    "ClassFileKeys",
    "ClassFiles",
    "first_and_all",
    "lacking_classes",
    "named_classes",
    "names_of",
    "unnamed_files",
]

Files = dict[str, list[Path]]
SHOWN = 5
"""Names of files that are listed."""
UNLIKE = ("label_suffix", "numbers", "classes_file", "ignore")
"""Keys for masks of one file."""


class ClassFileKeys(ConfigModel):
    """Defines the keys of formats whose masks may have a file for each class."""

    class_suffixes: list[str] = []
    """Ends of the stems of files that mark one class each, in the order of the classes without the background, such as
    `[_MA, _HE]` or `[liver, spleen]`. A folder in `label_folder` may stand before, as in `[haemorrhages/_HE]`. A file
    marks its class where it is not zero. Without this key, a mask is one file."""
    missing_class_files: Literal["error", "empty"] = "error"
    """Decides what to do with an image that lacks the file of a class. `error`: refuse it. `empty`: the image shows
    nothing of this class; a file of another class must be there."""
    class_overlap: ClassOverlap = "error"
    """Class of pixels that several files mark. `error`: refuse the case. `first` or `last`: take the class that stands
    first or last in `class_suffixes`."""


class ClassFiles(ChannelFiles):
    """Finds the files of the classes of an image; a suffix may begin with a folder, as in `haemorrhages/_HE`."""

    def key(self, path: Path) -> tuple[str, int] | None:
        """Return the name that all classes share, and the position of this one; None for another name.

        Example:
            >>> ClassFiles("", ["a/_x", "b/"]).key(Path("masks/b/p7.png"))
            ('p7', 1)
            >>> ClassFiles("", ["_x", "b/_x"]).key(Path("masks/b/p7_x.png"))
            ('p7', 1)
        """
        name, place = composed(stem(path)), tuple(map(composed, path.parent.parts))
        for inner, end, position in self._ends:
            if name.endswith(end) and place[len(place) - len(inner) :] == inner:
                key = without_affixes(name, self.prefix, [end])
                if key is not None:
                    return key, position
        return None

    @cached_property
    def _ends(self) -> list[tuple[tuple[str, ...], str, int]]:
        """List folder, end and position of each suffix, those with a folder and the longest first."""
        parts = [(suffix.rpartition("/"), position) for position, suffix in enumerate(self.suffixes)]
        ends = [(tuple(map(composed, Path(folder).parts)), composed(end), at) for (folder, _, end), at in parts]
        return sorted(ends, key=lambda each: (not each[0], -len(each[1])))

    def found(self, folder: Path, files: Callable[[Path, list[str], str], Files]) -> Files:
        """Find the files of all classes by the name of their case.

        Args:
            folder: Folder of the masks.
            files: Finds the files of a folder by their suffixes, the longest first, and their prefix.
        """
        found: Files = {}
        for inner in self.folders:
            ends = [end for each, _, end in (suffix.rpartition("/") for suffix in self.suffixes) if each == inner]
            place = existing(folder, inner) if inner else folder
            there = files(place, sorted(ends, key=len, reverse=True), self.prefix) if place.is_dir() else {}
            for key, paths in there.items():
                found.setdefault(key, []).extend(paths)
        return found

    @property
    def folders(self) -> list[str]:
        """Return the folders that suffixes begin with, each once; an empty name for that of all masks."""
        return list(dict.fromkeys(suffix.rpartition("/")[0] for suffix in self.suffixes))


def first_and_all(
    there: Mapping[str, Files], *, several: bool
) -> tuple[dict[str, Path], dict[str, tuple[Path | None, ...]]]:
    """Choose the first file of the mask of each case, and put the files of its classes into their order.

    Args:
        there: Files of each suffix by the name of the case.
        several: Each class has a file of its own.

    Returns:
        The first file of each case, and the file of each class of each case, None for a missing one.
    """
    names = dict.fromkeys(name for files in there.values() for name in files)
    parts = {name: tuple(next(iter(files.get(name, ())), None) for files in there.values()) for name in names}
    first = {name: next(path for path in each if path is not None) for name, each in parts.items()}
    return first, parts if several else {}


def lacking_classes(cases: Sequence[Case], config: ClassFileKeys) -> Iterator[Finding]:
    """Find images that lack the files of some of their classes, unless a missing file means an empty class."""
    suffixes = config.class_suffixes
    for case in cases if config.missing_class_files == "error" else ():
        for position, path in enumerate(case.class_files):
            if path is None and case.label is not None:
                message = (
                    f"image `{case.image}` has no mask of class `{suffixes[position]}` ({position + 1} of "
                    f"{len(suffixes)}) beside `{case.label}`"
                )
                hint = "add the file, or set `missing_class_files: empty` if the image shows nothing of this class"
                yield Finding("missing_class", "error", case.image, message, hint)


def unnamed_files(
    base: Path,
    pattern: str,
    classes: ClassFiles,
    endings: Container[str],
    used: Container[Path],
    exclude: Sequence[str],
) -> Iterator[Finding]:
    """Report files beside masks that no class names.

    Args:
        base: Folder that the pattern starts from.
        pattern: Folder of the masks; a `*` stands for many.
        classes: The suffixes of the classes.
        endings: Extensions of masks.
        used: Files of images, fields of view and classes.
        exclude: Names that are left out, with wildcards.
    """
    folders = [folder for _, folder in places(base, pattern)]
    if any(classes.folders):
        folders = [each for folder in folders for each in (folder, *sorted(folder.iterdir())) if each.is_dir()]
    files = [path for folder in folders for path in spare_files(folder, endings, used, exclude)]
    if files:
        names = list(dict.fromkeys(path.name for path in files))
        more = f" and {len(names) - SHOWN} more names" if len(names) > SHOWN else ""
        shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        message = f"`{base / pattern}` holds {count} that no suffix of `class_suffixes` fits: {shown}{more}"
        hint = "they are not read: if they mark further classes, add their suffixes to `class_suffixes`"
        alike = _unlike_in_capitals(files, classes.suffixes)
        if alike is not None:
            hint = f"they are not read, because capital letters count: if they mark `{alike}`, name them so"
        yield Finding("unread_files", "warning", files[0], message, hint)


def _unlike_in_capitals(files: Sequence[Path], suffixes: Sequence[str]) -> str | None:
    """Find the first suffix that all names end in but for capital letters."""
    names = [composed(stem(path)).lower() for path in files]
    ends = {suffix: composed(suffix).rpartition("/")[2].lower() for suffix in suffixes}
    return next((suffix for suffix, end in ends.items() if end and all(name.endswith(end) for name in names)), None)


def named_classes(values: dict[str, Any], *, background: bool) -> tuple[dict[str, Any], list[Mistake]]:
    """Complete the classes of a data set with a file for each, as far as they are not stated; return mistakes, too.

    Args:
        values: Keys of the data-set file.
        background: The background is the first of several classes.
    """
    suffixes = values.get("class_suffixes")
    if not isinstance(suffixes, list) or not suffixes:
        return {}, []
    mistakes: list[Mistake] = []
    twice = repeated(suffixes)
    if twice is not None:
        mistakes.append(("class_suffixes", f"names `{twice}` twice", "name each class once"))
    for key in UNLIKE:
        if values.get(key):
            message = "is for masks of one file, and `class_suffixes` names a file for each class"
            mistakes.append((key, message, "remove one of them (`null` on the command line)"))
    if values.get("mask_format") == "rgb":
        message = "is `rgb`, but the file of a class is not zero where it marks it"
        mistakes.append(("mask_format", message, "remove it, or `class_suffixes`"))
    count = len(suffixes) + background
    classes = values.get("classes")
    stated = len(classes) if isinstance(classes, list) and classes else values.get("num_classes", count)
    if stated != count:
        key = "classes" if classes else "num_classes"
        of = f"{len(suffixes)} suffixes" + " and the background, which comes first" * background
        hint = f"state {count}" if count == 1 else f"state {count}: {of}"
        mistakes.append((key, f"gives {stated}, but `class_suffixes` gives {count}", hint))
    if mistakes or classes or count == 1:
        return {}, mistakes
    names = names_of([str(each) for each in suffixes], background=background)
    return {"classes": [{"name": name} for name in names]}, []


def names_of(suffixes: Sequence[str], *, background: bool) -> list[str]:
    """Name classes after the suffixes of their files or after their folders; as they are if names would be equal.

    Example:
        >>> names_of(["_MA", "2. Haemorrhages/_HE"], background=True)
        ['background', 'MA', 'Haemorrhages']
        >>> names_of(["1. Class/", "2. Class/"], background=False)
        ['1. Class/', '2. Class/']
    """
    first = ["background"] * background
    names = [*first, *map(_name, suffixes)]
    return names if repeated(names) is None else [*first, *suffixes]


def _name(suffix: str) -> str:
    folder, _, end = suffix.rpartition("/")
    name = Path(folder).name.lstrip("0123456789") if folder else end
    return name.strip("_-. ") or Path(folder).name or suffix
