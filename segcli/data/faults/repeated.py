"""Findings on images that are in the data set twice, and on tiles of one picture in two splits."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from segcli.data.checks import Finding
from segcli.data.faults.likeness import alike
from segcli.data.faults.seen import Seen
from segcli.data.faults.tiles import divided_pictures

__all__ = ["repeated"]

Of = TypeVar("Of")
SHOWN = 4
"""Tiles of a picture that are named."""
LEAK = "remove it from one of the splits, else the scores are too good"
TILES = (
    "put all tiles of a picture into one split, such as with lists of names: scores of neighbouring tiles are too good"
)


def repeated(images: Sequence[Seen]) -> Iterator[Finding]:
    """Find images with the same pixels, images of two splits that look nearly the same, and divided pictures."""
    pixels = {split: [each for each in images if each.split == split] for split in {each.split: 0 for each in images}}
    again = [*_same(images), *_alike(pixels)]
    yield from again
    # the edges of a copy continue those of its original, if it is mirrored
    copies = {path for finding in again for path in (finding.file, *finding.others)}
    yield from _tiles(
        {split: [each for each in members if each.case.image not in copies] for split, members in pixels.items()}
    )


def _same(images: Sequence[Seen]) -> Iterator[Finding]:
    first: dict[tuple[int, ...], Seen] = {}
    for other in images:
        one = first.setdefault(other.digest, other)
        if one is other:
            continue
        leak = one.split != other.split
        yield Finding(
            "same_image_in_two_splits" if leak else "same_image_twice",
            "error" if leak else "warning",
            other.case.image,
            f"{other.name} has the pixels of {one.name}",
            LEAK if leak else "remove one of the two",
            (one.case.image,),
        )


def _alike(images: dict[str, list[Seen]]) -> Iterator[Finding]:
    for ndim in (2, 3):
        looks = {split: _each(members, lambda image: image.look, ndim) for split, members in images.items()}
        for pair in alike(looks):
            one, other = (images[split][position] for split, position in (pair.one, pair.other))
            if one.digest == other.digest:
                continue
            how = ", mirrored or turned" if pair.turned else ""
            message = f"{other.name} looks nearly like {one.name}{how} (likeness {pair.likeness:.2f} of 1)"
            hint = f"if one is a copy of the other, {LEAK}"
            path, others = other.case.image, (one.case.image,)
            yield Finding("nearly_same_image_in_two_splits", "warning", path, message, hint, others)


def _each(members: Sequence[Seen], of: Callable[[Seen], Of | None], ndim: int) -> list[Of | None]:
    return [of(each) if each.look is not None and each.look.ndim == ndim else None for each in members]


def _tiles(images: dict[str, list[Seen]]) -> Iterator[Finding]:
    for places in divided_pictures({split: [each.edges for each in members] for split, members in images.items()}):
        members = [images[split][position] for split, position in places]
        shown = ", ".join(each.name for each in members[:SHOWN])
        more = f" and {len(members) - SHOWN} more" if len(members) > SHOWN else ""
        message = f"{shown}{more} are tiles of one picture: they continue each other at their edges"
        first, *others = (each.case.image for each in members)
        yield Finding("tiles_in_two_splits", "warning", first, message, TILES, tuple(others))
