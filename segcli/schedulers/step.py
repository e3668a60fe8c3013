"""Reduction of the learning rate every few epochs."""

from typing import Annotated, ClassVar

from pydantic import Field

from segcli.core.types import ConfigModel, Positive
from segcli.schedulers import Schedule

__all__ = ["Step"]

ALIASES = ("StepLR",)
RELATED = (
    ("MultiStepLR", "`step` reduces the rate after every `step_size` epochs, and has no list of milestones"),
    ("ExponentialLR", "`{type: step, step_size: 1, gamma: ...}` reduces the rate after every epoch"),
)


class Step(Schedule):
    """Multiply the rate by `gamma` every `step_size` epochs."""

    class Config(ConfigModel):
        """Keys of `scheduler: {type: step}`."""

        other_keys: ClassVar[dict[str, str]] = {
            "factor": "gamma",
            "step": "step_size",
            "milestones": "`step` has no list of epochs: `step_size` is the number of epochs between two reductions",
        }

        step_size: Positive = 10
        """Epochs between two reductions."""
        gamma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
        """Factor by which the rate is multiplied at each reduction."""

    def after_warmup(self, step: int) -> float:
        """Compute the rate after the reductions so far."""
        drops = step // self.horizon.steps_per_epoch // self.config.step_size
        return float(self.base_lr * self.config.gamma**drops)
