"""Trackers of a run, which may fail without stopping it."""

from collections.abc import Callable
from pathlib import Path

from segcli.config.schema import Run
from segcli.core.registry import TRACKERS
from segcli.engine.events import Listener
from segcli.trackers import Tracker

__all__ = ["Tracking"]


class Tracking:
    """Passes figures on to every tracker; one that fails is dropped with one warning."""

    def __init__(self, run: Run, folder: Path, listener: Listener, *, first_step: int) -> None:
        self.listener = listener
        self.trackers: dict[str, Tracker] = {}
        for name in ["tensorboard"] if run.logging.tensorboard else []:
            kind = TRACKERS.load(name)
            try:
                self.trackers[name] = kind(folder, first_step=first_step)
            except Exception as error:
                listener.warn(f"tracker `{name}` cannot start and is off: {error}")

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record values by tag."""
        self._each(lambda tracker: tracker.scalars(values, step))

    def close(self) -> None:
        """Write out what is left."""
        self._each(lambda tracker: tracker.close())

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                call(tracker)
            except Exception as error:
                del self.trackers[name]
                self.listener.warn(f"tracker `{name}` failed and is off from here: {error}")
