"""Volume that is predicted where the structure is absent."""

from typing import Literal

import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.metrics import Metric, Scored, ratio

__all__ = ["FalsePositiveVolume"]


class FalsePositiveVolume(Metric):
    """Mean predicted volume of a structure in the cases without it; lower is better.

    Unit: cubic millimetres where the spacing is known (square millimetres in 2D), else voxels. NaN where the structure
    is present.
    """

    higher_is_better = False
    perfect = 0.0
    headline: Literal["mean", "pooled"] = "pooled"
    pool = "all cases"
    of_absence = True

    def unit(self, length: str, volume: str) -> str:
        """Name the unit of volumes."""
        return volume

    def statistics(self, scored: Scored) -> Tensor:
        """Return the volume found where the structure is absent, and 1 if it is absent, `(B, K, 2)`."""
        absent = ~scored.true_presence & scored.valid.flatten(2).any(2)
        voxels = (scored.found & scored.valid).flatten(2).sum(2)
        volume = voxels.float() * float(torch.tensor(scored.spacing).prod())
        return torch.stack([volume * absent, absent.float()], dim=2)

    def values(self, statistics: Array) -> Array:
        """Compute the volume per case without the structure."""
        return ratio(statistics[..., 0], statistics[..., 1])
