"""Neighbouring slices or frames in different splits: images with following numbers that look more alike than others."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from segcli.data.checks import Finding
from segcli.data.faults.names import LAST_NUMBER
from segcli.data.faults.seen import Seen

__all__ = ["divided_neighbours"]

MORE_ALIKE = 0.2
"""By how much neighbours are more alike than other images before they count as slices or frames of one thing."""
MANY = 0.15
"""Share of the neighbours in different splits that is reported: stretches that are cut once or twice have fewer."""
FEWEST = 8


def divided_neighbours(images: Sequence[Seen]) -> Iterator[Finding]:
    """Find a data set whose neighbouring slices or frames are strewn over the splits."""
    row = _numbered(images)
    pairs = list(pairwise(row))
    apart = [(one, other) for one, other in pairs if one.split != other.split]
    if len(row) < FEWEST or len(apart) < MANY * len(pairs):
        return
    near = float(np.median([_likeness(*pair) for pair in pairs]))
    half = len(row) // 2
    far = float(np.median([_likeness(one, other) for one, other in zip(row, row[half:], strict=False)]))
    if near - far < MORE_ALIKE:
        return
    one, other = apart[0]
    message = (
        f"{len(apart)} of {len(pairs)} neighbouring images are in different splits, such as {one.name} and "
        f"{other.name}; neighbours look alike (likeness {near:.2f}, others {far:.2f})"
    )
    hint = "they seem to be slices or frames of one thing: give each split whole stretches, with lists of names"
    yield Finding("divided_neighbours", "warning", one.case.image, message, hint, (other.case.image,))


def _numbered(images: Sequence[Seen]) -> list[Seen]:
    """Order images by the number in their names, if these differ in nothing else."""
    found: dict[tuple[str, str], list[tuple[int, Seen]]] = {}
    for image in images:
        match = LAST_NUMBER.match(image.case.id)
        if match is not None and image.look is not None and image.look.ndim == 2:
            found.setdefault((match[1], match[3]), []).append((int(match[2]), image))
    rows = sorted(found.values(), key=len)
    return [image for _, image in sorted(rows[-1], key=lambda pair: pair[0])] if rows else []


def _likeness(one: Seen, other: Seen) -> float:
    assert one.look is not None
    assert other.look is not None
    return float(np.corrcoef(one.look.ravel().astype(float), other.look.ravel().astype(float))[0, 1])
