"""One-cycle policy.

Paper: Smith and Topin, "Super-Convergence", https://arxiv.org/abs/1708.07120.

Differs from the paper: only the learning rate changes; momentum stays constant.

"""

import math
from typing import Annotated, ClassVar

from pydantic import Field

from segcli.core.types import ConfigModel
from segcli.schedulers import Schedule

__all__ = ["OneCycle"]

ALIASES = ("OneCycleLR",)


class OneCycle(Schedule):
    """Rise to the base rate, then fall far below the first rate, both along a cosine."""

    class Config(ConfigModel):
        """Keys of `scheduler: {type: one_cycle}`."""

        other_keys: ClassVar[dict[str, str]] = {
            "max_lr": "set `training.optimizer.learning_rate`",
            "pct_start": "rise",
            "total_steps": "leave it out: the cycle ends with the training (`training.epochs`)",
            "div_factor": "`start_factor` is 1 / `div_factor`",
            "final_div_factor": "`end_factor` is 1 / (`div_factor` * `final_div_factor`)",
        }

        rise: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
        """Share of the training during which the rate rises."""
        start_factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.04
        """First learning rate divided by the base rate."""
        end_factor: Annotated[float, Field(ge=0.0, le=1.0)] = 4e-6
        """Last learning rate divided by the base rate."""

    def after_warmup(self, step: int) -> float:
        """Compute the rate on the rising or falling cosine."""
        config, progress = self.config, self._progress(step)
        if progress < config.rise:
            return self._arc(config.start_factor, 1.0, progress / config.rise)
        return self._arc(1.0, config.end_factor, (progress - config.rise) / (1.0 - config.rise))

    def _progress(self, step: int) -> float:
        """Compute the share of the cycle: 0 at the first step, 1 at the last, whose rate `end_factor` states."""
        length = max(self.horizon.steps - 1 - self.warmup_steps, 1)
        return min((step - self.warmup_steps) / length, 1.0)

    def _arc(self, start: float, end: float, share: float) -> float:
        return self.base_lr * (end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * share)))
