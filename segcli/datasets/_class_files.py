"""Masks of which each class has a file of its own, such as `p1_MA.tif` and `p1_HE.tif`, or `liver.nii.gz`."""

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from segcli.core.errors import repeated
from segcli.core.names import composed, fits
from segcli.core.types import ConfigModel
from segcli.data.checks import Finding
from segcli.data.classes.class_files import ClassOverlap
from segcli.data.classes.class_list import Mistake
from segcli.data.images import natural_key
from segcli.data.samples import Case
from segcli.datasets._case_folders import places
from segcli.datasets._channel_files import ChannelFiles, stem
from segcli.files import ending_of

__all__ = [
    "ClassFileKeys",
    "class_name",
    "first_and_all",
    "lacking_classes",
    "masks_of",
    "named_classes",
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
    `[_MA, _HE]` or `[liver, spleen]`. A file marks its class where it is not zero. Without it, a mask is one file."""
    missing_class_files: Literal["error", "empty"] = "error"
    """Decides what to do with an image that lacks the file of a class. `error`: refuse it. `empty`: the image shows
    nothing of this class; a file of another class must be there."""
    class_overlap: ClassOverlap = "error"
    """Class of pixels that several files mark. `error`: refuse the case. `first` or `last`: take the class that stands
    first or last in `class_suffixes`."""


def masks_of(labels: Files, classes: ChannelFiles) -> tuple[dict[str, Path | None], dict[str, tuple[Path | None, ...]]]:
    """Choose the first file of the mask of each case, and put the files of its classes into their order.

    Args:
        labels: Files by the name of the case.
        classes: The suffixes of the classes; none for masks of one file.

    Returns:
        The first file of each case, and the file of each class of each case, None for a missing one.
    """
    return first_and_all(
        classes.by_channel(labels) if classes.suffixes else {"": labels}, several=bool(classes.suffixes)
    )


def first_and_all(
    there: Mapping[str, Files], *, several: bool
) -> tuple[dict[str, Path | None], dict[str, tuple[Path | None, ...]]]:
    """Do the same for files that are sorted by the suffix of their class.

    Args:
        there: Files of each suffix by the name of the case.
        several: Each class has a file of its own.
    """
    names = dict.fromkeys(name for files in there.values() for name in files)
    parts = {name: tuple(next(iter(files.get(name, ())), None) for files in there.values()) for name in names}
    first = {name: next((path for path in each if path is not None), None) for name, each in parts.items()}
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
    base: Path, pattern: str, endings: Container[str], used: Container[Path], exclude: Sequence[str]
) -> Iterator[Finding]:
    """Report files beside masks that no class names.

    Args:
        base: Folder that the pattern starts from.
        pattern: Folder of the masks; a `*` stands for many.
        endings: Extensions of masks.
        used: Files of images, fields of view and classes.
        exclude: Names that are left out, with wildcards.
    """
    there = (path for _, folder in places(base, pattern) for path in sorted(folder.iterdir(), key=natural_key))
    files = [path for path in there if ending_of(path).lower() in endings and path.name[0] != "." and path not in used]
    files = [path for path in files if not fits(composed(stem(path)), exclude)]
    if files:
        names = list(dict.fromkeys(path.name for path in files))
        more = f" and {len(names) - SHOWN} more names" if len(names) > SHOWN else ""
        shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
        message = f"`{base / pattern}` holds {len(files)} files that no suffix of `class_suffixes` fits: {shown}{more}"
        hint = "they are not read: if they mark further classes, add their suffixes to `class_suffixes`"
        yield Finding("unread_files", "warning", files[0], message, hint)


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
    names = [class_name(str(each)) for each in suffixes]
    names = names if repeated(names) is None else [str(each) for each in suffixes]
    return {"classes": [{"name": name} for name in ["background", *names][1 - background :]]}, []


def class_name(suffix: str) -> str:
    """Name a class after the suffix of its files.

    Example:
        >>> class_name("_MA"), class_name("kidney_left")
        ('MA', 'kidney_left')
    """
    return suffix.strip("_-. ") or suffix
