"""Images that are negatives of the others: dark where those are bright.

In a negative, both the contrast between foreground and background and the skew of the grey values have the opposite
sign; a mask that is inverted changes only the contrast. In volumes, the details of image and mask tell the same.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from segcli.data.faults.alignment import OPPOSITE, Fit
from segcli.data.faults.volume_alignment import VolumeFit, usual_fit

__all__ = ["negatives"]

FEWEST = 6
"""Images that are compared at least."""
AGREEING = 0.9
"""Share of the images whose contrast must have the same sign."""
LIKE = (0.4, 2.5)
"""Contrast of a negative, as a multiple of the usual one."""
LEAST_SKEW = 0.05
"""A smaller usual skew tells nothing."""
CLEARLY = 0.5
"""Smallest fit of a negative volume, as a share of the usual one."""


def negatives(fits: Sequence[Fit | None], volume_fits: Sequence[VolumeFit | None]) -> Iterator[int]:
    """Find images that are negatives of most images; `fits` and `volume_fits` describe how their masks lie on them."""
    if any(fit is not None for fit in volume_fits):
        yield from _of_volumes(volume_fits)
    else:
        yield from _of_pictures(fits)


def _of_pictures(fits: Sequence[Fit | None]) -> Iterator[int]:
    known = [(i, fit) for i, fit in enumerate(fits) if fit is not None and fit.contrast]
    if len(known) < FEWEST:
        return
    contrast, skew = (float(np.median([getattr(fit, name) for _, fit in known])) for name in ("contrast", "skew"))
    agreeing = sum(fit.contrast * contrast > 0 for _, fit in known)
    if abs(contrast) < OPPOSITE or abs(skew) < LEAST_SKEW or agreeing < AGREEING * len(known):
        return
    for i, fit in known:
        if LIKE[0] <= -fit.contrast / contrast <= LIKE[1] and abs(fit.skew + skew) < abs(fit.skew - skew):
            yield i


def _of_volumes(fits: Sequence[VolumeFit | None]) -> Iterator[int]:
    usual = usual_fit(fits)
    if usual is None:
        return
    for i, fit in enumerate(fits):
        if fit is not None and -fit.here / usual >= CLEARLY:
            yield i
