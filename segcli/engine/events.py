"""Events of the engine (progress, notices, warnings); the listener decides how they are shown."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from segcli.engine.memory import Memory

__all__ = ["EpochDone", "Listener", "Noting", "Silent", "StepDone"]


@dataclass(frozen=True)
class StepDone:
    """Progress within an epoch, sent at most a few times per second."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    values: dict[str, float]
    """Mean of `loss` and metrics over the current epoch so far."""
    images_per_s: float
    memory: "Memory"
    remaining_s: float
    """Estimated seconds until the end of the training, with validations if their time is known."""


@dataclass(frozen=True)
class EpochDone:
    """Results of an epoch."""

    epoch: int
    epochs: int
    train: dict[str, float]
    val: dict[str, float]
    learning_rate: float
    elapsed_s: float
    remaining_s: float
    improved: bool
    patience_left: int | None
    """Number of further validations without improvement until early stopping; None when it is off."""
    notes: list[str] = field(default_factory=list)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    """Value of each class for each metric; empty for a single mask and without a validation."""
    name: str = ""
    """Name of the training, if several are told of at once."""


class Listener(Protocol):
    """Receives the events."""

    def notice(self, text: str) -> None:
        """Receive a notice for the user."""

    def warn(self, text: str) -> None:
        """Receive a warning."""

    def stage(self, text: str, total: int | None = None) -> None:
        """Receive the start of a stage of work, with `total` items if known."""

    def advance(self, count: int = 1) -> None:
        """Receive the number of items of the current stage that are done."""

    def step(self, event: StepDone) -> None:
        """Receive the progress of a training."""

    def epoch(self, event: EpochDone) -> None:
        """Receive the results of an epoch."""


class Silent:
    """Listener that ignores all events."""

    def notice(self, text: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Ignore."""

    def stage(self, text: str, total: int | None = None) -> None:
        """Ignore."""

    def advance(self, count: int = 1) -> None:
        """Ignore."""

    def step(self, event: Any) -> None:
        """Ignore."""

    def epoch(self, event: Any) -> None:
        """Ignore."""


class Noting:
    """Passes all events on and keeps warnings for a report, each once.

    Args:
        listener: Receives all events.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.warnings: list[str] = []

    def keep(self, *warnings: str) -> None:
        """Keep warnings without passing them on."""
        self.warnings += [text for text in warnings if text not in self.warnings]

    def go_on_from(self, earlier: list[str]) -> None:
        """Put the warnings of the processes that trained a run so far before those of this one."""
        self.warnings, new = list(earlier), self.warnings
        self.keep(*new)

    def notice(self, text: str) -> None:
        """Pass on."""
        self.listener.notice(text)

    def warn(self, text: str) -> None:
        """Keep and pass on."""
        self.keep(text)
        self.listener.warn(text)

    def stage(self, text: str, total: int | None = None) -> None:
        """Pass on."""
        self.listener.stage(text, total)

    def advance(self, count: int = 1) -> None:
        """Pass on."""
        self.listener.advance(count)

    def step(self, event: StepDone) -> None:
        """Pass on."""
        self.listener.step(event)

    def epoch(self, event: EpochDone) -> None:
        """Keep the notes of the epoch, and pass on."""
        self.keep(*(f"epoch {event.epoch}: {note}" for note in event.notes))
        self.listener.epoch(event)
