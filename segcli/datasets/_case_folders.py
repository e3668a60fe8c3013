"""A folder for each case: a `*` in the name of a folder stands for every folder that it fits.

The name of a case is that of its folder, with what its file has beside it: `case_01/image.png` is `case_01`,
`case_01/case_01_flair.nii.gz` too, and `clip/0001.png` is `clip/0001`. Where folders of images and masks differ in the
part with the `*`, such as `*_images` and `*_masks`, the name has only what the `*` stands for: `train/0001`.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from segcli.core.names import composed, existing
from segcli.data.images import natural_key

__all__ = ["case_name", "files_of_cases", "for_each_case", "place_name", "places", "share_stars"]

Files = dict[str, list[Path]]


def for_each_case(pattern: str) -> bool:
    """Tell whether the name of a folder stands for many folders.

    Example:
        >>> for_each_case("*/images"), for_each_case("images")
        (True, False)
    """
    return "*" in pattern


def share_stars(*patterns: str | None) -> bool:
    """Tell whether patterns have equal parts with `*`, so that whole names of folders are names of cases.

    Example:
        >>> share_stars("*/images", "*/masks"), share_stars("*_images", "*_masks")
        (True, False)
    """
    parts = {tuple(part for part in Path(each).parts if for_each_case(part)) for each in patterns if each is not None}
    return len(parts) < 2


def place_name(part: str, folder: str, *, whole: bool) -> str:
    """Return what a folder adds to the name of a case: its name, or what the `*` of its part stands for.

    Example:
        >>> place_name("images*", "imagesTr", whole=False), place_name("images*", "imagesTr", whole=True)
        ('Tr', 'imagesTr')
    """
    if whole or part.count("*") > 1:
        return folder
    first, _, last = part.partition("*")
    return folder[len(first) : len(folder) - len(last)]


def places(root: Path, pattern: str, *, whole: bool = True) -> Iterator[tuple[str, Path]]:
    """Find the folders that a pattern stands for, in natural order, with what each `*` stands for.

    Args:
        root: Folder that the pattern starts from.
        pattern: Name of a folder with `*` in some of its parts, such as `*/images` or `train/*`.
        whole: Take the whole name of a folder; else what the `*` stands for.
    """
    found = [("", root)]
    for part in Path(pattern).parts:
        if for_each_case(part):
            found = [
                (f"{name}/{place_name(part, child, whole=whole)}".strip("/"), path)
                for name, folder in found
                for path in sorted(folder.iterdir(), key=natural_key)
                if fnmatchcase(child := composed(path.name), part) and child[0] != "." and path.is_dir()
            ]
        else:
            found = [(name, inner) for name, folder in found if (inner := existing(folder, part)).is_dir()]
    yield from found


def case_name(folder: str, key: str) -> str:
    """Name a case by its folder and by the stem of its file without affixes.

    Example:
        >>> case_name("case_01", ""), case_name("patient001", "patient001_frame01"), case_name("clip", "0001")
        ('case_01', 'patient001_frame01', 'clip/0001')
    """
    before, slash, last = folder.rpartition("/")
    if not key:
        return folder
    return f"{before}{slash}{key}" if key.startswith(last) else f"{folder}/{key}"


def files_of_cases(root: Path, pattern: str, files: Callable[[Path], Files], *, whole: bool = True) -> Files:
    """Find the files of all folders that a pattern stands for, by the name of the case.

    Args:
        root: Folder that the pattern starts from.
        pattern: Name of a folder with `*` in it.
        files: Finds the files of one folder by their stems without affixes.
        whole: Take the whole name of a folder; else what the `*` stands for.
    """
    found: Files = {}
    for name, folder in places(root, pattern, whole=whole):
        for key, paths in files(folder).items():
            found.setdefault(case_name(name, key), []).extend(paths)
    return found
