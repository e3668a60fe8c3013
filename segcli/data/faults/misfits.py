"""Masks that fit their images badly, looked at once more: mirrored or turned ones, and those of another image.

Only where most masks of a data set fit well, and only few are read again, so that a clean data set takes no time.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from segcli.data.checks import Finding
from segcli.data.faults.alignment import CLEAR, Fit
from segcli.data.faults.kept import Images
from segcli.data.faults.turned import Looked, looked_at, turns_of
from segcli.data.faults.volume_alignment import VolumeFit, usual_fit
from segcli.data.samples import Sample

__all__ = ["Again", "misfits"]

FEWEST, MOST = 6, 6
"""Number of masks that are compared at least, and largest number that is looked at once more."""
FEW, SHARE = 2, 0.1
"""Number or share of the masks that may fit badly; where more do, a bad fit is no reason for doubt."""
POOR = 0.5
"""Largest fit of such a mask, as a share of the usual one; fits of pictures differ more when they are right."""
GOOD = 0.7
"""Least fit of the mask of a volume at its right place, as a share of the usual one."""
BETTER = 1.1
"""Least factor by which this fit exceeds those at other places on its image."""
CANDIDATES = 3
"""Masks of the same share of foreground that are compared pixel by pixel."""
Again = Callable[[int], Sample | None]
"""Reads a case once more, with a mask that is not learned, too; None where it cannot be read."""


def misfits(images: Images, again: Again, known: Collection[int]) -> Iterator[tuple[set[int], Finding]]:
    """Find masks that fit their images only when they are turned, and masks of another image.

    Args:
        images: Descriptions of all images.
        again: Reads a case once more.
        known: Positions of masks whose fault is known.

    Yields:
        Positions of the masks, and the finding.
    """
    fits, volume_fits = images.fits, images.volume_fits
    needed = _poor_volumes(volume_fits) if any(volume_fits) else _poor_pictures(fits)
    looked: dict[int, Looked] = {}
    for i in needed:
        sample = None if i in known else again(i)
        look = None if sample is None else looked_at(sample)
        if look is not None:
            looked[i] = look
    turned = {i: words for i, look in looked.items() if (words := _turned(look, needed[i]))}
    yield from (({i}, _turned_mask(images, i, words)) for i, words in turned.items())
    rest = {i: look for i, look in looked.items() if i not in turned}
    belongs = _belonging(rest, needed)
    for i, j in sorted(belongs.items()):
        if belongs.get(j) != i:
            message = f"the mask of {images.name(i)} seems to be that of {images.name(j)}, which it fits better"
            hint = "look at the mask over its image, and give it the name of its own image"
            yield {i}, _foreign(images, i, j, message, hint)
        elif i < j:
            names = f"{images.name(i)} and {images.name(j)}"
            message = f"the masks of {names} seem to be exchanged: each fits the image of the other"
            yield {i, j}, _foreign(images, i, j, message, "look at both masks over their images, and exchange them")
    yield from _copied(images, {i: look for i, look in rest.items() if i not in belongs}, again)


def _turned_mask(images: Images, i: int, words: str) -> Finding:
    """Report a mask that fits its image only when it is turned or shifted."""
    case = images.cases[i]
    message = f"the mask of {images.name(i)} seems to {words}, compared with the image"
    hint = "look at the mask over its image, and export it again at the right place"
    others = () if case.label is None else (case.image,)
    return Finding("shifted_mask", "warning", case.label or case.image, message, hint, others)


def _poor_pictures(fits: Sequence[Fit | None]) -> dict[int, float]:
    """Find masks that fit badly, with the fit that they need at their right place."""
    known = {i: fit for i, fit in enumerate(fits) if fit is not None and fit.best > 0}
    usual = float(np.median([fit.here for fit in known.values()])) if len(known) >= FEWEST else 0.0
    poor = _poor({i: fit.here for i, fit in known.items()}, min(usual, CLEAR / POOR)) if usual >= CLEAR else []
    return {i: max(POOR * usual, CLEAR, BETTER * known[i].best) for i in poor}


def _poor_volumes(fits: Sequence[VolumeFit | None]) -> dict[int, float]:
    """Find masks of volumes that fit badly, with the fit that they need: below 0 for dark objects."""
    signed = usual_fit(fits) or 0.0
    sign, usual = math.copysign(1, signed), abs(signed)
    known = {i: fit for i, fit in enumerate(fits) if fit is not None}
    poor = _poor({i: sign * fit.here for i, fit in known.items()}, usual) if usual else []
    moved = {i: max(then for then, _ in (known[i].bright if sign > 0 else known[i].dark)) for i in poor}
    return {i: sign * max(GOOD * usual, BETTER * moved[i]) for i in poor}


def _poor(fits: dict[int, float], usual: float) -> list[int]:
    """List the masks that fit badly, the worst first; none where many do."""
    poor = sorted((fit, i) for i, fit in fits.items() if fit <= POOR * usual)
    return [i for _, i in poor[:MOST]] if len(poor) <= max(FEW, SHARE * len(fits)) else []


def _turned(look: Looked, needed: float) -> str:
    """Tell how a mask seems to be turned or shifted; nothing if it fits in no other form and at no other place."""
    best, words = max(((look.fit(form) / needed, words) for words, form in turns_of(look.mask)), default=(0.0, ""))
    return words if best >= 1 else look.shift(needed)


def _belonging(looked: dict[int, Looked], needed: dict[int, float]) -> dict[int, int]:
    """Find the image to which each mask belongs, among those that were looked at."""
    found = {}
    for i, look in looked.items():
        others = ((other.fit(look.mask) / needed[i], j) for j, other in looked.items() if j != i)
        best, j = max(others, default=(0.0, i))
        if best >= 1:
            found[i] = j
    return found


def _copied(images: Images, looked: dict[int, Looked], again: Again) -> Iterator[tuple[set[int], Finding]]:
    """Find masks that have the pixels of a mask that fits its own image."""
    if not looked:
        return
    pictures, volumes = images.fits, images.volume_fits
    marks = [
        each.mark if each is not None else fit and (fit.share, fit.scale)
        for fit, each in zip(pictures, volumes, strict=True)
    ]
    for i, look in looked.items():
        for j in [j for j, mark in enumerate(marks) if mark == marks[i] and j not in looked][:CANDIDATES]:
            sample = again(j)
            other = None if sample is None else looked_at(sample)
            if other is not None and np.array_equal(look.mask, other.mask):
                what = f"the mask of {images.name(i)} is that of {images.name(j)}, pixel by pixel, and fits only there"
                yield {i}, _foreign(images, i, j, what, "export the mask of this image again, or leave it out")
                break


def _foreign(images: Images, i: int, j: int, message: str, hint: str) -> Finding:
    """Report the mask of one image that seems to be that of another one."""
    mine, other = images.cases[i], images.cases[j]
    file, *others = (path for path in (mine.label, mine.image, other.label, other.image) if path is not None)
    return Finding("mask_of_another_image", "warning", file, message, hint, tuple(others))
