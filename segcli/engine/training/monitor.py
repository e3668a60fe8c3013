"""Which epoch is the best, and when it is time to stop."""

import math
from typing import Any

from segcli.config.schema import EarlyStopping
from segcli.metrics import Metric

__all__ = ["Monitor"]


class Monitor:
    """Follows one value over the epochs."""

    def __init__(self, settings: EarlyStopping, metrics: list[Metric]) -> None:
        self.settings = settings
        self.name = settings.monitor or (f"val_{metrics[0].name}" if metrics else "val_loss")
        self.lower_is_better = (settings.mode or self._natural_mode(metrics)) == "min"
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        """Validations since the best."""

    def _natural_mode(self, metrics: list[Metric]) -> str:
        rising = tuple(metric.name for metric in metrics if metric.higher_is_better)
        return "max" if self.name.startswith("val_") and self.name.removeprefix("val_").endswith(rising) else "min"

    def oriented(self, value: float) -> float:
        """The value turned so that lower is better."""
        return value if self.lower_is_better else -value

    def hear(self, value: float, epoch: int) -> bool:
        """Take up the value of an epoch; whether it is the best so far. NaN never is."""
        change = math.inf if self.best is None else self.oriented(self.best) - self.oriented(value)
        if not math.isnan(value) and change > (self.settings.min_delta if self.best is not None else 0.0):
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def patience_left(self) -> int | None:
        """Validations without improvement until the stop; None when early stopping is off."""
        return max(self.settings.patience - self.waited, 0) if self.settings.enabled else None

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return self.patience_left == 0

    @property
    def state(self) -> dict[str, Any]:
        """What must be remembered."""
        return {"monitor": self.name, "best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        """Take up a remembered state."""
        self.best, self.best_epoch, self.waited = value["best"], value["best_epoch"], value["waited"]
