"""Surface Dice, the normalised surface distance.

Paper: Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck anatomy for
radiotherapy", 2018, https://arxiv.org/abs/1809.04430.

Differs from the paper: counts outline pixels instead of integrating surface elements.
"""

from typing import Annotated

from pydantic import Field

from segcli.core.types import Array, ConfigModel
from segcli.metrics import OutlineMetric

__all__ = ["SurfaceDice"]

ALIASES = ("normalized_surface_dice", "nsd")

ROUNDING = 1.0 + 1e-6
"""Factor on the tolerance: three steps of 0.1 mm are 0.30000000000000004 mm and must be within 0.3 mm."""


class SurfaceDice(OutlineMetric):
    """Share of outline pixels of both masks that lie within a tolerance of the other outline.

    NaN where both masks are empty, 0 where one is. The pooled value takes all outlines of the data set together.
    """

    class Config(ConfigModel):
        """Keys of `metrics: [{type: surface_dice}]`."""

        tolerance_mm: Annotated[float, Field(ge=0.0)] = 1.0
        """Accepted distance in millimetres; in pixels where the spacing is not known."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.tolerance_mm = config.tolerance_mm

    @property
    def statistics_name(self) -> str:
        """Return one name for each tolerance."""
        return f"{self.name}_{self.tolerance_mm:g}mm"

    def unit(self, length: str, volume: str) -> str:
        """Name the unit of the tolerance."""
        return f"within {self.tolerance_mm:g} {length}"

    def from_distances(self, to_truth: Array, to_found: Array) -> tuple[float, float]:
        """Count outline pixels within the tolerance, and all outline pixels."""
        near = sum(float((distances <= self.tolerance_mm * ROUNDING).sum()) for distances in (to_truth, to_found))
        return near, float(to_truth.size + to_found.size)
