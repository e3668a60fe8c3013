"""Constant learning rate (after the warm-up)."""

from segcli.schedulers import Schedule

__all__ = ["Constant"]

ALIASES = ("none",)


class Constant(Schedule):
    """Keep the base rate at every step."""

    def after_warmup(self, step: int) -> float:
        """Return the base rate."""
        return self.base_lr
