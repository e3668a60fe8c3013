"""Image files named on the command line."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.near_paths import meant
from segcli.data.images import natural_key
from segcli.files import endings, is_picture_folder, other_volume

__all__ = ["files_of", "passed_over"]


def files_of(inputs: Sequence[str], ndim: int, extensions: Sequence[str] = ()) -> list[Path]:
    """Find the image files and folders that the inputs name, each once.

    Args:
        inputs: Files, folders and globs.
        ndim: Spatial axes of the images.
        extensions: File extensions to take from a folder, in addition to the known ones.

    Raises:
        DataError: An input does not exist, or a folder contains no image.
    """
    more = (f".{extension.lower().lstrip('.')}" for extension in extensions)
    taken = tuple(dict.fromkeys([*endings(ndim), *more]))
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir() and not is_picture_folder(path, ndim):
            inside = [
                entry
                for entry in path.iterdir()
                if (entry.name.lower().endswith(taken) or is_picture_folder(entry, ndim)) and entry.name[0] != "."
            ]
            if ndim == 2 and all(entry.is_dir() for entry in inside) and (path / "images").is_dir():
                found |= dict.fromkeys(files_of([str(path / "images")], ndim, extensions))  # beside masks of objects
                continue
            if not inside:
                raise DataError(f"no images in `{path}`", hint=f"files end in {', '.join(taken)}")
            found |= dict.fromkeys(sorted(inside, key=natural_key))
        elif path.exists():
            found[path] = None
        else:
            matches = sorted(map(Path, glob.glob(text, recursive=True)), key=natural_key)  # noqa: PTH207 - absolute too
            if not matches:
                raise DataError(f"no file, folder or match for `{text}`", hint=meant(path))
            # links that lead nowhere stay: they are told one by one, as those in a folder
            images = [match for match in matches if not match.is_dir() or is_picture_folder(match, ndim)]
            if not images:
                raise DataError(f"`{text}` fits folders only, such as `{matches[0]}`", hint="name the files in them")
            found |= dict.fromkeys(images)
    return list(found)


def passed_over(inputs: Sequence[str], taken: Sequence[Path]) -> Iterator[str]:
    """Count the volumes of a folder in formats that are not read.

    Args:
        inputs: Files, folders and globs.
        taken: Files and folders that are predicted.
    """
    for folder in dict.fromkeys(map(Path, inputs)):
        if not folder.is_dir() or folder in taken:
            continue
        left = (path for path in folder.iterdir() if path not in taken and path.is_file() and path.name[0] != ".")
        hints = {path: hint for path in sorted(left, key=natural_key) if (hint := other_volume(path)) is not None}
        if hints:
            path, hint = next(iter(hints.items()))
            yield f"`{folder}` holds {len(hints)} files of a format that is not read, such as `{path.name}` ({hint})"
