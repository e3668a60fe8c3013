"""Finds the best epoch, and the moment to stop."""

import math
from collections.abc import Mapping
from typing import Any

from segcli.config.schema import EarlyStopping

__all__ = ["Monitor"]


class Monitor:
    """Follows one value over the epochs.

    Args:
        settings: What to follow, and how long to wait for an improvement.
        rises: Whether higher is better, for each value of a validation by name; the first one is followed where the
            settings name none.
    """

    def __init__(self, settings: EarlyStopping, rises: Mapping[str, bool]) -> None:
        self.settings = settings
        self.name = settings.monitor or next(iter(rises))
        self.lower_is_better = settings.mode == "min" if settings.mode else not rises[self.name]
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        """Validations since the best."""

    def oriented(self, value: float) -> float:
        """The value turned so that lower is better."""
        return value if self.lower_is_better else -value

    def hear(self, value: float, epoch: int) -> bool:
        """Take up the value of an epoch, which is not NaN; return whether it is the best so far."""
        change = math.inf if self.best is None else self.oriented(self.best) - self.oriented(value)
        if change > (self.settings.min_delta if self.best is not None else 0.0):
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
