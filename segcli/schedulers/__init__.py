"""Learning-rate schedules, one file each. What every schedule keeps stands here.

A schedule is a function of the step, so that resuming needs no state and a step computed twice gives the same rate.
The one exception (plateau) keeps its memory in `state`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from segcli.core.types import ConfigModel

__all__ = ["Horizon", "Schedule"]


@dataclass(frozen=True)
class Horizon:
    """How long a training is."""

    epochs: int
    steps_per_epoch: int
    """Optimizer steps in one epoch."""
    warmup_epochs: float = 0.0
    """Epochs (fractions too) over which the rate grows in a straight line from 0 to its peak."""

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.epochs * self.steps_per_epoch


class Schedule(ABC):
    """Learning rate as a function of the optimizer step."""

    Config: type[ConfigModel] = ConfigModel

    def __init__(self, config: Any, *, base_lr: float, horizon: Horizon) -> None:
        self.config = config
        self.base_lr: float = base_lr
        self.horizon = horizon
        self.warmup_steps: int = round(horizon.warmup_epochs * horizon.steps_per_epoch)

    def rate(self, step: int) -> float:
        """Learning rate of optimizer step `step`, counted from 0."""
        if step < self.warmup_steps:
            return self.base_lr * (step + 1) / self.warmup_steps
        return self.after_warmup(step)

    def progress(self, step: int) -> float:
        """Share of the way from the end of the warm-up (0) to the last step (1)."""
        length = max(self.horizon.steps - 1 - self.warmup_steps, 1)
        return min((step - self.warmup_steps) / length, 1.0)

    @abstractmethod
    def after_warmup(self, step: int) -> float:
        """Learning rate once the warm-up is over."""

    def epoch_ended(self, monitored: float) -> None:  # noqa: B027 - most schedules do not care
        """Hear the monitored value of an epoch, oriented so that lower is better."""

    @property
    def state(self) -> dict[str, Any]:
        """What must be remembered beyond the step."""
        return {}

    @state.setter  # noqa: B027 - most schedules have none
    def state(self, value: dict[str, Any]) -> None:
        """Take up a remembered state."""
