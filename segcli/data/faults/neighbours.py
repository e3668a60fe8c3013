"""Neighbouring slices or frames in different splits: images with following numbers that look more alike than others."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from segcli.data.checks import Finding
from segcli.data.faults.kept import Images
from segcli.data.faults.names import LAST_NUMBER

__all__ = ["divided_neighbours"]

MORE_ALIKE = 0.2
"""By how much neighbours are more alike than other images before they count as slices or frames of one thing."""
MANY = 0.15
"""Share of the neighbours in different splits that is reported: stretches that are cut once or twice have fewer."""
FEWEST = 8


def divided_neighbours(images: Images) -> Iterator[Finding]:
    """Find a data set whose neighbouring slices or frames are strewn over the splits."""
    row = _numbered(images)
    pairs = list(pairwise(row))
    apart = [(one, other) for one, other in pairs if images.splits[one] != images.splits[other]]
    if len(row) < FEWEST or len(apart) < MANY * len(pairs):
        return
    near = float(np.median([_likeness(images, *pair) for pair in pairs]))
    half = len(row) // 2
    far = float(np.median([_likeness(images, one, other) for one, other in zip(row, row[half:], strict=False)]))
    if near - far < MORE_ALIKE:
        return
    one, other = apart[0]
    message = (
        f"{len(apart)} of {len(pairs)} neighbouring images are in different splits, such as {images.name(one)} and "
        f"{images.name(other)}; neighbours look alike (likeness {near:.2f}, others {far:.2f})"
    )
    hint = (
        "they seem to be slices or frames of one thing: give each split whole stretches, "
        "with `split: {by: lists, val: [NAME, ...]}`"
    )
    file, others = images.cases[one].image, (images.cases[other].image,)
    yield Finding("divided_neighbours", "warning", file, message, hint, others)


def _numbered(images: Images) -> list[int]:
    """Order images by the number in their names, if these differ in nothing else; return their positions."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for i, case in enumerate(images.cases):
        match = LAST_NUMBER.match(case.id)
        if match is not None and images.has_look(i, ndim=2):
            found.setdefault((match[1], match[3]), []).append((int(match[2]), i))
    rows = sorted(found.values(), key=len)
    return [i for _, i in sorted(rows[-1], key=lambda pair: pair[0])] if rows else []


def _likeness(images: Images, one: int, other: int) -> float:
    ours, theirs = images.look(one), images.look(other)
    assert ours is not None
    assert theirs is not None
    return float(np.corrcoef(ours.ravel().astype(float), theirs.ravel().astype(float))[0, 1])
