"""2D images whose channels are files of their own: pixels, headers, and the files of a folder by case."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.checks import Finding, doubles
from segcli.data.images import Headers, supported
from segcli.data.samples import Case
from segcli.datasets._channel_files import ChannelFiles, channel_against, spare_files, without_suffix
from segcli.files import Header, header_of
from segcli.files._joined import Joined, open_joined

__all__ = [
    "complete_images",
    "header_of_channels",
    "pixels_of_file",
    "read_channels",
    "same_stems",
    "unused_files",
    "without",
]

Files = dict[str, list[Path]]


def read_channels(paths: Sequence[Path], page: int | None, headers: Headers | None = None) -> Array:
    """Read the channels of an image, `(H, W, C)` in the order of its files, as `read_image` reads a single file.

    Args:
        paths: Files of the channels.
        page: Page to read of files of several pages, counted from 0.
        headers: Receives the header of each file.

    Raises:
        DataError: A file is missing or damaged, or differs from the first in its size or its type of numbers.
    """
    with open_joined(paths, 2, page) as picture:
        parts = picture.parts if isinstance(picture, Joined) else [picture]
        if headers is not None:
            headers.update({part.path: header_of(part) for part in parts})
        return np.ascontiguousarray(supported(picture.read(), paths[0]))


def header_of_channels(case: Case, header: Callable[[Path], Header], findings: list[Finding]) -> Header | None:
    """Return the header of an image with the channels of all its files; None if one of them cannot be used.

    Args:
        case: The image.
        header: Reads the header of a file.
        findings: Receives files that cannot be read, and those that differ from the first.
    """
    headers: list[Header] = []
    for path in case.images:
        try:
            headers.append(header(path))
        except DataError as error:
            findings.append(Finding("unreadable_image", "error", path, error.message, error.hint or ""))
    if len(headers) < len(case.images):
        return None
    first, *others = headers
    for path, other in zip(case.others, others, strict=True):
        findings += channel_against(path, other, case.image, first)
    return replace(first, channels=sum(each.channels for each in headers)) if others else first


def pixels_of_file(image: Array, case: Case, path: Path | None) -> Array | None:
    """Return the pixels of one file of an image, for a search for damage; None for other files."""
    files = case.images
    if len(files) == 1:
        return image if path == case.image else None
    if path not in files or image.shape[2] != len(files):
        return None
    position = files.index(path)
    return image[:, :, position : position + 1]


def complete_images(images: Files, channels: ChannelFiles) -> tuple[Files, list[Finding]]:
    """Put the files of each image into the order of its channels, each once; leave out images that lack one.

    Args:
        images: Files by the name of the case.
        channels: The suffixes of the channels.
    """
    if not channels.are_several:
        return {name: paths[:1] for name, paths in images.items()}, []
    return channels.complete(channels.by_channel(images))


def same_stems(images: Files, channels: ChannelFiles) -> Iterator[Finding]:
    """Find files of one folder that share a stem.

    Args:
        images: Files by the name of the case.
        channels: The suffixes of the channels.
    """
    for files in channels.by_channel(images).values() if channels.are_several else [images]:
        yield from doubles(files, "image")


def without(taken: Container[Path], files: Files) -> Files:
    """Leave out files with another meaning, and names of which none remain."""
    left = {name: [path for path in paths if path not in taken] for name, paths in files.items()}
    return {name: paths for name, paths in left.items() if paths}


def unused_files(
    folder: Path, channels: ChannelFiles, endings: Container[str], others: Container[Path], exclude: Sequence[str]
) -> Iterator[Finding]:
    """Report images in a folder that are no channel of any case.

    Args:
        folder: Folder of the images.
        channels: The suffixes of the channels.
        endings: Extensions that are read.
        others: Files with another meaning, such as masks.
        exclude: Names that are left out, with wildcards.
    """
    if folder.is_dir():
        files = list(spare_files(folder, endings, others, exclude))
        yield from without_suffix(folder, files, channels.suffixes)
