"""Pictures of a case, as reports show them."""

from dataclasses import dataclass

from segcli.core.types import Array

__all__ = ["CasePicture"]


@dataclass(frozen=True)
class CasePicture:
    """Pictures of one case: image, truth, prediction and mistakes."""

    name: str
    """Name of the case, as in tables."""
    value: float
    """Score by which the case was chosen."""
    panels: dict[str, Array]
    """RGB pictures `(H, W, 3)` uint8 by title."""
    place: str = ""
    """Part of the case that is shown, such as `slice 3 of 40`; empty for the whole case."""
