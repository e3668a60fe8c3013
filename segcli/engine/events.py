"""What the engine tells while it works; who listens decides how it looks."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from segcli.engine.memory import Memory

__all__ = ["EpochDone", "Listener", "Noting", "Silent", "StepDone"]


@dataclass(frozen=True)
class StepDone:
    """A moment within an epoch, told a few times a second at most."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    values: dict[str, float]
    """`loss` and metrics, averaged over the epoch so far."""
    images_per_s: float
    memory: "Memory"
    remaining_s: float
    """Until the end of the training, validations included as far as they are known."""


@dataclass(frozen=True)
class EpochDone:
    """An epoch with its results."""

    epoch: int
    epochs: int
    train: dict[str, float]
    val: dict[str, float]
    learning_rate: float
    elapsed_s: float
    remaining_s: float
    improved: bool
    patience_left: int | None
    """Validations without improvement until early stopping; None when it is off."""
    notes: list[str] = field(default_factory=list)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of each metric the value of each class; empty for a single mask and without a validation."""


class Listener(Protocol):
    """Hears what happens."""

    def notice(self, text: str) -> None:
        """Something worth knowing."""

    def warn(self, text: str) -> None:
        """Something that may be wrong."""

    def stage(self, text: str, total: int | None = None) -> None:
        """A piece of work begins, of `total` items where that is known."""

    def advance(self, count: int = 1) -> None:
        """Items of the present stage are done."""

    def step(self, event: StepDone) -> None:
        """Training goes on."""

    def epoch(self, event: EpochDone) -> None:
        """An epoch is over."""


class Silent:
    """Listens to nothing."""

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
    """Passes everything on and keeps what may be wrong, for a report.

    Args:
        listener: Hears everything.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.warnings: list[str] = []

    def notice(self, text: str) -> None:
        """Pass on."""
        self.listener.notice(text)

    def warn(self, text: str) -> None:
        """Keep and pass on."""
        self.warnings.append(text)
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
        """Keep what is to be said of the epoch, and pass on."""
        self.warnings += [f"epoch {event.epoch}: {note}" for note in event.notes]
        self.listener.epoch(event)
