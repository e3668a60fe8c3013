"""Trackers, one file each: where the figures of a run go besides its own folder. The contract of all stands here."""

from abc import ABC, abstractmethod
from pathlib import Path

__all__ = ["Tracker"]


class Tracker(ABC):
    """Records a run.

    Args:
        folder: Run folder.
        first_step: Epoch from which values will come; whatever an interrupted run recorded beyond is void.
    """

    @abstractmethod
    def __init__(self, folder: Path, *, first_step: int) -> None: ...

    @abstractmethod
    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record values by tag, such as `train/loss`, at an epoch."""

    @abstractmethod
    def close(self) -> None:
        """Write out what is left."""
