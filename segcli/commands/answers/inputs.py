"""Image files named on the command line."""

import glob
from collections.abc import Sequence
from pathlib import Path

from segcli.core.errors import DataError
from segcli.data.images import natural_key
from segcli.files import endings, is_picture_folder

__all__ = ["files_of"]


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
            if not inside:
                raise DataError(f"no images in `{path}`", hint=f"files end in {', '.join(taken)}")
            found |= dict.fromkeys(sorted(inside, key=natural_key))
        elif path.exists():
            found[path] = None
        else:
            matches = sorted(map(Path, glob.glob(text, recursive=True)), key=natural_key)  # noqa: PTH207 - absolute too
            if not matches:
                raise DataError(f"no file, folder or match for `{text}`")
            found |= dict.fromkeys(match for match in matches if match.is_file() or is_picture_folder(match, ndim))
    return list(found)
