"""Tell masks from images to predict where a data set stores both in one folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["without_masks"]

Key = Callable[[Path], str | None]


def without_masks(files: Sequence[Path], image: Key, mask: Key) -> list[Path]:
    """Leave out the masks of images that are among the files.

    Args:
        files: Files to predict.
        image: Returns the name of the case of an image; None for a file with another name.
        mask: Returns the name of the case of a mask; None for a file with another name.
    """
    images = {(path.parent, image(path)): path for path in files if mask(path) is None}
    return [path for path in files if (key := mask(path)) is None or (path.parent, key) not in images]
