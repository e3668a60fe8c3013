"""Masks and images of which only one file states an orientation."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.data.faults.alignment import BETTER
from segcli.data.faults.seen import fit_in
from segcli.data.samples import Case, Sample

__all__ = ["OtherTurn", "turned_alone"]

FITS = 2.0
"""Smallest fit that counts; less than for a shift, because the headers are a reason for doubt."""


@dataclass(frozen=True)
class OtherTurn:
    """Describes a mask as if its file stated the orientation of the image."""

    mask: Array
    words: str
    """Clause that names both files with their orientations."""
    hint: str
    """Way to make both files state the same orientation."""
    is_usual: bool = False
    """True if files of one data set usually differ in this: then the headers alone are no reason for doubt."""


def turned_alone(case: Case, sample: Sample, other: OtherTurn) -> Iterator[Finding]:
    """Tell that only the mask or only the image states an orientation, and whether the mask fits the image.

    Args:
        case: The case.
        sample: Its image and mask, each turned as its own file states.
        other: The mask as if its file stated the orientation of the image.
    """
    here, there = fit_in(sample), fit_in(replace(sample, maps={**sample.maps, "mask": other.mask}))
    as_read, alike = (0.0 if fit is None else fit.here for fit in (here, there))
    path, others = (case.label or case.image), (case.image,)
    if alike >= max(FITS, BETTER + as_read):
        message = f"{other.words}: the mask fits the image better if both are turned alike"
        yield Finding("turned_alone", "warning", path, message, other.hint, others)
    elif other.is_usual:
        return
    elif as_read >= max(FITS, BETTER + alike):
        yield Finding("turned_alone", "info", path, f"{other.words}: the mask fits the image as they are", "", others)
    else:
        message = f"{other.words}; the pixels do not tell whether the mask fits"
        hint = f"look at the mask over the image, as a viewer turns both; if it does not fit, {other.hint}"
        yield Finding("turned_alone", "warning", path, message, hint, others)
