"""Learning-rate schedules, one file each. This file holds the contract of every schedule.

A schedule is a function of the step. So resuming needs no state, and a step that is computed twice gets the same rate.
The only exception, plateau, keeps its memory in `state`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from segcli.core.types import ConfigModel

__all__ = ["Horizon", "Schedule"]


@dataclass(frozen=True)
class Horizon:
    """Length of a training in epochs and steps."""

    epochs: int
    steps_per_epoch: int
    """Optimizer steps in one epoch."""
    warmup_epochs: float = 0.0
    """Epochs (also fractions) of linear warm-up, in which the rate grows from 0 to its peak."""

    @property
    def steps(self) -> int:
        """Count the optimizer steps of the whole training."""
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
        """Compute the learning rate of optimizer step `step`, counted from 0."""
        if step < self.warmup_steps:
            return self.base_lr * (step + 1) / self.warmup_steps
        return self.after_warmup(step)

    def progress(self, step: int) -> float:
        """Compute the share of the steps done since the warm-up: 0 at its first step, 1 after the last step."""
        length = max(self.horizon.steps - self.warmup_steps, 1)
        return min((step - self.warmup_steps) / length, 1.0)

    @abstractmethod
    def after_warmup(self, step: int) -> float:
        """Compute the learning rate after the warm-up."""

    def epoch_ended(self, monitored: float) -> None:  # noqa: B027 - most schedules ignore it
        """Receive the monitored value of an epoch, with its sign chosen so that lower is better."""

    def forget_monitored(self) -> None:  # noqa: B027 - most schedules ignore it
        """Forget the values that `epoch_ended` received, because another value is monitored from now on."""

    @property
    def state(self) -> dict[str, Any]:
        """State that a checkpoint must store beside the step."""
        return {}

    @state.setter  # noqa: B027 - most schedules have none
    def state(self, value: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
