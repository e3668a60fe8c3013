"""No schedule: the learning rate stays (after the warm-up)."""

from segcli.schedulers import Schedule

__all__ = ["Constant"]


class Constant(Schedule):
    """The same rate at every step."""

    def after_warmup(self, step: int) -> float:
        """The base rate."""
        return self.base_lr
