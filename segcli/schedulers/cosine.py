"""Cosine decay.

Paper: Loshchilov and Hutter, "SGDR", ICLR 2017, https://arxiv.org/abs/1608.03983 (one cycle, no restarts).

"""

import math
from typing import Annotated, ClassVar

from pydantic import Field

from segcli.core.types import ConfigModel
from segcli.schedulers import Schedule

__all__ = ["Cosine"]

ALIASES = ("cosine_annealing", "CosineAnnealingLR", "cosine_decay")
RELATED = (("CosineAnnealingWarmRestarts", "`cosine` decays once, without restarts"),)


class Cosine(Schedule):
    """Decay along half a cosine from the base rate to `min_lr`, updated at every optimizer step."""

    class Config(ConfigModel):
        """Keys of `scheduler: {type: cosine}`."""

        other_keys: ClassVar[dict[str, str]] = {
            "T_max": "leave it out: the decay ends with the training (`training.epochs`)",
            "t_max": "leave it out: the decay ends with the training (`training.epochs`)",
            "eta_min": "min_lr",
            "warmup_epochs": "set `training.warmup_epochs`",
        }

        min_lr: Annotated[float, Field(ge=0.0)] = 0.0
        """Learning rate that the decay reaches after the last step."""

    def after_warmup(self, step: int) -> float:
        """Compute the rate on the cosine."""
        low = self.config.min_lr
        share: float = 0.5 * (1.0 + math.cos(math.pi * self.progress(step)))
        return float(low + (self.base_lr - low) * share)
