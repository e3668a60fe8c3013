"""Tells where the values of a data set come from: links that leave its folder, and chunks that are not stored."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from segcli.core.errors import ConfigError, DataError
from segcli.core.names import printable
from segcli.core.platform import is_link
from segcli.data.checks import Finding
from segcli.data.samples import Case
from segcli.files import format_of, open_picture

__all__ = ["chunks_left_out", "links_outside"]


def links_outside(roots: Sequence[Path], cases: Iterable[Case]) -> Iterator[Finding]:
    """Find files of cases that symbolic links take from outside the folders of the data set.

    Args:
        roots: The folders that the user stated.
        cases: All cases.
    """
    inside = [Path(os.path.realpath(root)) for root in roots]
    stops = {root.absolute() for root in roots}
    known: dict[Path, list[Path]] = {}
    links: dict[Path, None] = {}
    for case in cases:
        for path in case.files:
            for link in _links(path, stops, known):
                target = Path(os.path.realpath(link))
                if not any(target.is_relative_to(root) for root in inside):
                    links[link] = None
    if links:
        first = next(iter(links))
        more = f" (and {len(links) - 1} more links)" if len(links) > 1 else ""
        target_shown = printable(os.path.realpath(first), 200)
        message = f"`{first}` is a link to `{target_shown}`, outside the folder of the data set{more}"
        hint = "copy the files into the folder, or set `dataset.follow_links=true` if these are the files that you mean"
        yield Finding("link_outside", "error", first, message, hint)


def _links(path: Path, stops: set[Path], known: dict[Path, list[Path]]) -> Iterator[Path]:
    """Find symbolic links between the folder of the data set and a file, and within an image that is a folder.

    Args:
        path: The file.
        stops: The folders that the user stated.
        known: Links above the folders that were looked at; new folders are added.
    """
    is_folder = path.is_dir()
    if not is_folder or path.absolute() not in stops:
        if is_link(path):
            yield path
        folder = path.parent
        if folder not in known:
            known[folder] = list(_links_above(path, stops))
        yield from known[folder]
    if is_folder:
        for within, folders, files in os.walk(path):
            yield from (place for name in (*folders, *files) if is_link(place := Path(within, name)))


def _links_above(path: Path, stops: set[Path]) -> Iterator[Path]:
    """Find symbolic links among the folders of a file, up to the folder of the data set."""
    if stops.isdisjoint(path.absolute().parents):
        return
    for place in path.parents:
        if place.absolute() in stops:
            return
        if is_link(place):
            yield place


def chunks_left_out(split: str | None, cases: Iterable[Case], ndim: int, page: int | None = None) -> Iterator[Finding]:
    """Find images whose format lets a writer leave out chunks; such chunks are read as one value.

    Args:
        split: Split of the cases; None for images to predict.
        cases: The cases.
        ndim: Spatial axes of the images.
        page: Page of 2D files of several pages, for cases that state none.
    """
    pages: dict[Path, int | None] = {}
    for case in cases:  # the first page of a file stands for the others
        pages.setdefault(case.image, page if case.index is None else case.index)
    shares: dict[Path, float] = {}
    for path, index in pages.items():
        kind = format_of(path, ndim)
        if kind is not None and kind.may_leave_out and path.exists():
            try:
                with open_picture(path, ndim, index) as picture:
                    shares[path] = picture.share_left_out()
            except DataError:
                continue  # reported with the image
            except ConfigError:
                return  # the package that reads it is missing, which is reported first
    lacking = {path: share for path, share in shares.items() if share}
    if lacking:
        first = max(lacking, key=lambda path: lacking[path])
        others = "images" if split is None else f"images of `{split}`"
        more = f" (so do {len(lacking) - 1} more {others})" if len(lacking) > 1 else ""
        message = f"`{first}` lacks {lacking[first]:.0%} of its chunks or tiles, which are read as one value{more}"
        hint = "right where the image is empty, because writers leave such chunks out; otherwise copy the folder again"
        yield Finding("chunks_left_out", "warning", first, message, hint)
