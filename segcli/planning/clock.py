"""Keep a step within its share of the time."""

import time
from dataclasses import dataclass, field

__all__ = ["Clock"]


@dataclass(frozen=True)
class Clock:
    """Counts processor seconds from its making, so that a busy machine does not change what is read."""

    seconds: float
    began: float = field(default_factory=time.process_time)

    @property
    def over(self) -> bool:
        """Tell whether the time is over."""
        return self.spent >= self.seconds

    @property
    def spent(self) -> float:
        """Return the processor seconds that have passed."""
        return time.process_time() - self.began
