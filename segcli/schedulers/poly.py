"""Polynomial decay, as in DeepLab.

Paper: Chen et al., "DeepLab", https://arxiv.org/abs/1606.00915.

"""

from typing import Annotated, ClassVar

from pydantic import Field

from segcli.core.types import ConfigModel
from segcli.schedulers import Schedule

__all__ = ["Poly"]

ALIASES = ("PolynomialLR", "polynomial", "PolyLR")
RELATED = (("LinearLR", "`{type: poly, power: 1.0}` decays linearly"),)


class Poly(Schedule):
    """Decay as `(1 - progress) ** power` from the base rate to `min_lr`."""

    class Config(ConfigModel):
        """Keys of `scheduler: {type: poly}`."""

        other_keys: ClassVar[dict[str, str]] = {
            "total_iters": "leave it out: the decay ends with the training (`training.epochs`)",
            "gamma": "power",
            "eta_min": "min_lr",
            "warmup_epochs": "set `training.warmup_epochs`",
        }

        power: Annotated[float, Field(gt=0.0)] = 0.9
        """Exponent; 1 is linear decay."""
        min_lr: Annotated[float, Field(ge=0.0)] = 0.0
        """Learning rate that the decay reaches after the last step."""

    def after_warmup(self, step: int) -> float:
        """Compute the rate on the curve."""
        low = self.config.min_lr
        share: float = (1.0 - self.progress(step)) ** self.config.power
        return float(low + (self.base_lr - low) * share)
