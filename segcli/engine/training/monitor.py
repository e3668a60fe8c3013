"""Early stopping and choice of the best epoch."""

import math
from collections.abc import Mapping
from typing import Any

from segcli.config.schema import EarlyStopping

__all__ = ["Monitor"]


class Monitor:
    """Follows the monitored value over the epochs.

    Args:
        settings: Name of the monitored value and patience.
        rises: For each value of a validation by name, True if higher is better; the first value is monitored if the
            settings name none.
    """

    def __init__(self, settings: EarlyStopping, rises: Mapping[str, bool]) -> None:
        self.settings = settings
        self.name = settings.monitor or next(iter(rises))
        self.lower_is_better = settings.mode == "min" if settings.mode else not rises[self.name]
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        """Number of validations since the best one."""

    def oriented(self, value: float) -> float:
        """Change the sign of a value if needed, so that lower is better."""
        return value if self.lower_is_better else -value

    def hear(self, value: float, epoch: int) -> bool:
        """Compare the value of an epoch (not NaN) with the best so far; return True if it is better."""
        change = math.inf if self.best is None else self.oriented(self.best) - self.oriented(value)
        if change > (self.settings.min_delta if self.best is not None else 0.0):
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def patience_left(self) -> int | None:
        """Number of further validations without improvement until the stop; None when early stopping is off."""
        return max(self.settings.patience - self.waited, 0) if self.settings.enabled else None

    @property
    def is_over(self) -> bool:
        """Tell if patience is exhausted and the training must stop."""
        return self.patience_left == 0

    @property
    def state(self) -> dict[str, Any]:
        """State for the checkpoint."""
        return {"monitor": self.name, "best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.best, self.best_epoch, self.waited = value["best"], value["best_epoch"], value["waited"]
