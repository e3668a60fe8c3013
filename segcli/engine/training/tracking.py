"""Trackers of a run; a tracker that fails does not stop the run."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from segcli.config.schema import Run, TrackerSection
from segcli.core.files import plain
from segcli.core.registry import label
from segcli.core.types import Array
from segcli.engine.events import Listener
from segcli.trackers import Tracker

__all__ = ["Tracking", "raise_if_elsewhere"]


def raise_if_elsewhere(error: Exception) -> None:
    """Raise an error again that no logging caused: the death of a loader worker.

    PyTorch raises it in a signal handler, and so wherever the main process is at that moment.
    """
    if "DataLoader worker" in str(error):
        raise error


class Tracking:
    """Passes values to every tracker; a tracker that fails is switched off with one warning."""

    def __init__(self, run: Run, folder: Path, listener: Listener, *, first_step: int | None) -> None:
        self.listener = listener
        self.trackers: dict[str, Tracker] = {}
        chosen = {"tensorboard": TrackerSection(type="tensorboard")} if run.logging.tensorboard else {}
        chosen |= {label(section.type): section for section in run.trackers}
        for name, section in chosen.items():
            kind = section.kind
            try:
                tracker = kind(folder, first_step=first_step, config=kind.Config.model_validate(section.options))
                if first_step is not None:
                    tracker.begin(run.name, plain(run.resolved()))
                self.trackers[name] = tracker
            except Exception as error:
                listener.warn(f"tracker `{name}` cannot start and is switched off: {error}")

    @property
    def is_on(self) -> bool:
        """Tell if the run has at least one tracker."""
        return bool(self.trackers)

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Record values by tag."""
        self._each(lambda tracker: tracker.scalars(values, step))

    def earlier_scalars(self, values: dict[str, float], step: int) -> None:
        """Record values of an epoch before this process, for trackers that start again."""
        self._each(lambda tracker: tracker.scalars(values, step) if tracker.begins_anew else None)

    def comparisons(self, values: dict[str, dict[str, float]], step: int) -> None:
        """Record several lines per chart by tag."""
        self._each(lambda tracker: tracker.comparisons(values, step))

    def images(self, pictures: dict[str, Array], step: int) -> None:
        """Record images by tag."""
        self._each(lambda tracker: tracker.images(pictures, step))

    def histograms(self, values: dict[str, Array], step: int) -> None:
        """Record histograms by tag."""
        self._each(lambda tracker: tracker.histograms(values, step))

    def graph(self, network: nn.Module, image: Tensor) -> None:
        """Record the graph of the network; if it cannot be traced, the tracker continues without the graph."""
        for name, tracker in self.trackers.items():
            try:
                tracker.graph(network, image)
            except Exception as error:
                raise_if_elsewhere(error)
                reason = (str(error).strip() or repr(error)).splitlines()[0]
                self.listener.warn(f"tracker `{name}` cannot record the network graph: {reason[:160]}")

    def hyperparameters(self, values: dict[str, str | float | bool], metrics: dict[str, float], step: int) -> None:
        """Record hyperparameters and final metrics."""
        self._each(lambda tracker: tracker.hyperparameters(values, metrics, step))

    def test_scores(self, values: dict[str, float], step: int) -> None:
        """Record scores on the test split."""
        self._each(lambda tracker: tracker.test_scores(values, step))

    def close(self) -> None:
        """Write all values that are still in memory."""
        self._each(lambda tracker: tracker.close())

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                call(tracker)
            except Exception as error:
                raise_if_elsewhere(error)
                del self.trackers[name]
                self.listener.warn(f"tracker `{name}` failed and is switched off: {error}")
