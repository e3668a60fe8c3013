"""Masks that fit their images only if both files state the same orientation."""

from collections.abc import Iterator
from dataclasses import replace

from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.faults.alignment import BETTER
from segcli.data.faults.seen import fit_in
from segcli.data.samples import Case, Sample

__all__ = ["OtherTurn", "orientation_of_one"]

FITS = 2.0
"""Smallest fit that counts; less than for a shift, because the headers are a reason for doubt."""
OtherTurn = tuple[Array, str, str]
"""A mask as if its file stated the orientation of the image, both orientations in words, and what to do."""


def orientation_of_one(case: Case, sample: Sample, other: OtherTurn) -> Iterator[Finding]:
    """Find a mask that fits its image better if both files state the same orientation.

    Args:
        case: The case.
        sample: Its image and mask, each turned as its own file states.
        other: The mask as if its file stated the orientation of the image.
    """
    mask, words, hint = other
    here = fit_in(sample)
    there = fit_in(replace(sample, maps={**sample.maps, "mask": mask}))
    if there is None or there.here < max(FITS, BETTER + (here.here if here is not None else 0.0)):
        return
    message = f"{words}: the mask fits the image better if both are turned alike"
    yield Finding("orientation_of_one", "warning", case.label or case.image, message, hint)
