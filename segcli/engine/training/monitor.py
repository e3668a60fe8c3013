"""Early stopping and choice of the best epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from segcli.config.schema import EarlyStopping

__all__ = ["Monitor", "other_meaning"]


def other_meaning(before: Mapping[str, Any], now: Mapping[str, Any], *, is_loss: bool) -> str | None:
    """Name the key of a config whose change gives the monitored value another meaning; None if there is none.

    Args:
        before: Config of the checkpoint.
        now: Config of the resumed run.
        is_loss: The monitored value is the loss or a part of it.
    """
    if is_loss and before["training"]["loss"] != now["training"]["loss"]:
        return "training.loss"
    return "inference" if before["inference"] != now["inference"] else None


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
        return {
            "monitor": self.name,
            "lower_is_better": self.lower_is_better,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
        }

    def restore(
        self, state: dict[str, Any], history: Sequence[dict[str, Any]], *, why: str | None = None
    ) -> str | None:
        """Restore the state from a checkpoint.

        If another value is monitored now, the best value so far is that of the epoch that the best checkpoint holds,
        and patience begins anew. A value that is computed in another way is not known for the best checkpoint.

        Args:
            state: State from the checkpoint.
            history: Values of all epochs so far.
            why: Key that changed how the monitored value is computed; None if none did.

        Returns:
            A message if another value is monitored now.
        """
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]
        before, lower_was_better = state["monitor"], state.get("lower_is_better", self.lower_is_better)
        if before == self.name and lower_was_better == self.lower_is_better and why is None:
            return None
        values = {entry["epoch"]: entry["val"].get(self.name, math.nan) for entry in history}
        known = math.nan if why else values.get(self.best_epoch, math.nan)
        self.waited = 0
        if why is None:
            what = f"`{self.name}` is monitored from now on, {'lower' if self.lower_is_better else 'higher'} is better"
            what += f" (`{before}` before)" if before != self.name else ""
        else:
            what = f"`{self.name}` is another value with another `{why}`"
        if self.best_epoch is None or math.isnan(known):
            self.best, self.best_epoch = None, None
            return f"{what}: it is not known for the best checkpoint, which the next validation replaces"
        self.best = known
        return f"{what}: the best checkpoint, of epoch {self.best_epoch}, has {known:.4f}"
