"""Findings on images that are in the data set twice, and on tiles of one picture in two splits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.faults.cropped import cropped
from segcli.data.faults.kept import Images
from segcli.data.faults.likeness import alike
from segcli.data.faults.registered import CONFIRMED, agreement, grey_of
from segcli.data.faults.tiles import divided_pictures

__all__ = ["repeated"]

SHOWN = 4
"""Tiles of a picture that are named."""
LEAK = "remove it from one of the splits, else the scores are too good"
TILES = (
    "put all tiles of a picture into one split, such as with `split: {by: lists, val: [NAME, ...]}`: "
    "scores of neighbouring tiles are too good"
)


MOST_READ = 64
"""Pairs of images that are read again, to compare their pixels."""
Read = Callable[[int], Array | None]
"""Reads the pixels of the image at a position; None where they cannot be read."""


def repeated(images: Images, read: Read) -> Iterator[Finding]:
    """Find images with the same pixels, images of two splits that look nearly the same, and divided pictures.

    Args:
        images: Descriptions of all images.
        read: Reads an image once more.
    """
    splits, first = images.positions(), images.first_alike()
    again = [*_same(images, first), *_alike(images, splits, first)]
    again += _parts(images, splits, {frozenset((each.file, *each.others)) for each in again}, read)
    yield from again
    # the edges of a copy continue those of its original, if it is mirrored
    copies = {path for finding in again for path in (finding.file, *finding.others)}
    if copies:
        splits = {split: [i for i in each if images.cases[i].image not in copies] for split, each in splits.items()}
    yield from _tiles(images, splits)


def _same(images: Images, first: Array) -> Iterator[Finding]:
    for other in np.flatnonzero(first != np.arange(len(first))).tolist():
        one = int(first[other])
        leak = images.splits[one] != images.splits[other]
        yield Finding(
            "same_image_in_two_splits" if leak else "same_image_twice",
            "error" if leak else "warning",
            images.cases[other].image,
            f"{images.name(other)} has the pixels of {images.name(one)}",
            LEAK if leak else "remove one of the two",
            (images.cases[one].image,),
        )


def _alike(images: Images, splits: Mapping[str, Sequence[int]], first: Array) -> Iterator[Finding]:
    for ndim in (2, 3):
        for pair in alike({split: images.looks(members, ndim) for split, members in splits.items()}):
            one, other = (splits[split][position] for split, position in (pair.one, pair.other))
            if first[one] == first[other]:
                continue
            how = ", mirrored or turned" if pair.turned else ""
            likeness = f"(likeness {pair.likeness:.2f} of 1)"
            message = f"{images.name(other)} looks nearly like {images.name(one)}{how} {likeness}"
            hint = f"if one is a copy of the other, {LEAK}"
            path, others = images.cases[other].image, (images.cases[one].image,)
            yield Finding("nearly_same_image_in_two_splits", "warning", path, message, hint, others)


def _parts(
    images: Images, splits: Mapping[str, Sequence[int]], known: set[frozenset[Path | None]], read: Read
) -> Iterator[Finding]:
    """Find images that show a part of an image of another split.

    Args:
        images: Descriptions of all images.
        splits: Positions of the images of each split.
        known: Files of images that are known to be copies.
        read: Reads an image once more.
    """
    greys: dict[int, Array | None] = {}
    found = cropped({split: images.looks(members, 2) for split, members in splits.items()})
    for each in sorted(found, key=lambda pair: -pair.likeness)[:MOST_READ]:
        whole, part = (splits[split][position] for split, position in (each.whole, each.part))
        files = frozenset(images.cases[i].image for i in (whole, part))
        if files in known:
            continue
        for i in {whole, part} - set(greys):
            greys[i] = images.grey(i)
            if greys[i] is None:
                pixels = read(i)
                greys[i] = None if pixels is None else grey_of(pixels)
        ours, theirs = greys[whole], greys[part]
        if ours is None or theirs is None or agreement(ours, theirs, each.windows, each.form) < CONFIRMED:
            continue
        known.add(files)
        how = ", mirrored or turned" if any(each.form) else ""
        message = f"{images.name(part)} shows a part of {images.name(whole)}{how}"
        hint = f"if one is a copy of the other, {LEAK}"
        path, others = images.cases[part].image, (images.cases[whole].image,)
        yield Finding("nearly_same_image_in_two_splits", "warning", path, message, hint, others)


def _tiles(images: Images, splits: Mapping[str, Sequence[int]]) -> Iterator[Finding]:
    for places in divided_pictures(images.edges, splits):
        members = [position for _, position in places]
        shown = ", ".join(map(images.name, members[:SHOWN]))
        more = f" and {len(members) - SHOWN} more" if len(members) > SHOWN else ""
        message = f"{shown}{more} are tiles of one picture: they continue each other at their edges"
        file, *others = (images.cases[each].image for each in members)
        yield Finding("tiles_in_two_splits", "warning", file, message, TILES, tuple(others))
