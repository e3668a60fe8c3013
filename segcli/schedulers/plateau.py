"""Reduction of the learning rate when the monitored value stops improving."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from segcli.core.types import ConfigModel, Positive
from segcli.schedulers import Schedule

__all__ = ["Plateau"]

ALIASES = ("ReduceLROnPlateau", "reduce_on_plateau")


class Plateau(Schedule):
    """Multiply the rate by `factor` after `patience` epochs without improvement of the monitored value.

    The monitored value is `training.early_stopping.monitor`, also if early stopping is disabled.
    """

    class Config(ConfigModel):
        """Keys of `scheduler: {type: plateau}`."""

        other_keys: ClassVar[dict[str, str]] = {
            "mode": "leave it out: it follows from `training.early_stopping.monitor`",
            "gamma": "factor",
            "threshold": "min_delta",
            "monitor": "set `training.early_stopping.monitor`",
        }

        factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
        """Factor by which the rate is multiplied at each reduction."""
        patience: Positive = 5
        """The rate is reduced after more than this number of epochs without improvement."""
        min_delta: Annotated[float, Field(ge=0.0)] = 1e-4
        """Smallest change that counts as an improvement."""
        min_lr: Annotated[float, Field(ge=0.0)] = 0.0
        """Lower limit of the learning rate."""

    _scale: float = 1.0
    _best: float | None = None
    _waited: int = 0

    def after_warmup(self, step: int) -> float:
        """Compute the rate after the reductions so far."""
        return float(max(self.base_lr * self._scale, min(self.config.min_lr, self.base_lr)))

    def epoch_ended(self, monitored: float) -> None:
        """Count epochs without improvement and reduce the rate when there were too many."""
        if self._best is None or monitored < self._best - self.config.min_delta:
            self._best, self._waited = monitored, 0
            return
        self._waited += 1
        if self._waited > self.config.patience:
            self._scale, self._waited = self._scale * self.config.factor, 0

    def forget_monitored(self) -> None:
        """Keep the rate, and restart the count."""
        self._best, self._waited = None, 0

    @property
    def state(self) -> dict[str, Any]:
        """Scale, best value and number of epochs without improvement."""
        return {"scale": self._scale, "best": self._best, "waited": self._waited}

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self._scale, self._best, self._waited = value["scale"], value["best"], value["waited"]
