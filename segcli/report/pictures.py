"""Pictures of a case, as reports show them."""

from dataclasses import dataclass

from segcli.core.types import Array

__all__ = ["CasePicture"]


@dataclass(frozen=True)
class CasePicture:
    """What a person sees of one case: image, truth, prediction and mistakes, side by side."""

    name: str
    """Of the case, as in tables."""
    value: float
    """Score that the case was chosen by."""
    panels: dict[str, Array]
    """RGB pictures `(H, W, 3)` uint8 by what they show."""
    place: str = ""
    """Which part of the case is shown, such as `slice 3 of 40`; empty where it is all of it."""
