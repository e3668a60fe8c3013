"""Progress of a memory forecast, counted in simulations of a training."""

from segcli.engine.events import Listener, Silent

__all__ = ["Simulations", "expected"]

ALONE = 2
"""Simulations of a forecast: a training and a prediction."""
FOR_BATCH = 1
"""Further simulations that the largest batch usually takes."""
FOR_LIMITS = 2 * FOR_BATCH + 1 + 2
"""Further simulations for the largest batch in two precisions, and for the largest image."""


def expected(*, limits: bool, fit: bool, others: int) -> int:
    """Estimate the number of simulations of a forecast.

    Args:
        limits: The largest batches and the largest image are searched.
        fit: The batch size is searched first.
        others: Number of other forecasts beside it.
    """
    return ALONE + limits * FOR_LIMITS + fit * (FOR_BATCH + 1) + others


class Simulations:
    """Tells a listener how many simulations are done.

    Args:
        text: Words for the stage of work.
        total: Expected number. A search that takes more stays at the end.
        listener: Receives the progress; None for nobody.
    """

    def __init__(self, text: str, total: int, listener: Listener | None) -> None:
        self.listener = listener or Silent()
        self.left = total
        self.listener.stage(text, total)

    def advance(self) -> None:
        """Count one simulation."""
        if self.left:
            self.left -= 1
            self.listener.advance()
