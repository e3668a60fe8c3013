"""Findings on images that are in the data set twice, and on tiles of one picture in two splits."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.faults.kept import Images
from segcli.data.faults.likeness import alike
from segcli.data.faults.tiles import divided_pictures

__all__ = ["repeated"]

SHOWN = 4
"""Tiles of a picture that are named."""
LEAK = "remove it from one of the splits, else the scores are too good"
TILES = (
    "put all tiles of a picture into one split, such as with lists of names: scores of neighbouring tiles are too good"
)


def repeated(images: Images) -> Iterator[Finding]:
    """Find images with the same pixels, images of two splits that look nearly the same, and divided pictures."""
    splits, first = images.positions(), images.first_alike()
    again = [*_same(images, first), *_alike(images, splits, first)]
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


def _tiles(images: Images, splits: Mapping[str, Sequence[int]]) -> Iterator[Finding]:
    for places in divided_pictures(images.edges, splits):
        members = [position for _, position in places]
        shown = ", ".join(map(images.name, members[:SHOWN]))
        more = f" and {len(members) - SHOWN} more" if len(members) > SHOWN else ""
        message = f"{shown}{more} are tiles of one picture: they continue each other at their edges"
        file, *others = (images.cases[each].image for each in members)
        yield Finding("tiles_in_two_splits", "warning", file, message, TILES, tuple(others))
