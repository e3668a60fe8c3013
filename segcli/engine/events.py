"""Events of the engine (progress, notices, warnings); the listener decides how they are shown."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from segcli.engine.memory import Memory
    from segcli.engine.world import World

__all__ = ["POLLED_S", "EpochDone", "Listener", "Noting", "Relay", "Silent", "StepDone", "heard_by"]


POLLED_S = 0.1
"""Seconds between two looks at the progress of the others while a process waits for them."""


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


def heard_by(world: "World | None", listener: Listener) -> Listener:
    """Return the listener of the first process, and one that ignores all events for the others."""
    return listener if world is None or world.is_first else Silent()


class Relay(Silent):
    """Counts the items that all processes finish, and keeps their messages until the work is done.

    A single process passes everything on at once.

    The other processes leave their counts in PyTorch's store, and the first process shows the sum. So no process waits
    for another one while it works.

    Args:
        world: The processes; None for a single one.
        listener: Receives the progress; that of the first process.
    """

    def __init__(self, world: "World | None", listener: Listener) -> None:
        self.world = None if world is None or world.is_alone else world
        self.listener = listener
        if self.world is not None:
            self.world.works += 1
            self.count, self.done = (f"segcli/{what}/{self.world.works}" for what in ("progress", "done"))
        self.seen = 0
        self.position = 0
        """Item that the next messages are about."""
        self.messages: list[tuple[int, str, str]] = []
        """Item, kind and text of each message of this process."""

    def notice(self, text: str) -> None:
        """Keep a notice."""
        self._keep("notice", text)

    def warn(self, text: str) -> None:
        """Keep a warning."""
        self._keep("warn", text)

    def _keep(self, kind: str, text: str) -> None:
        if self.world is None:
            getattr(self.listener, kind)(text)
        else:
            self.messages.append((self.position, kind, text))

    def advance(self, count: int = 1) -> None:
        """Count finished items of this process; the first process shows those of all."""
        if self.world is None:
            self.listener.advance(count)
        elif self.world.is_first:
            self.listener.advance(count)
            self._look()
        else:
            self.world.store.add(self.count, count)

    def _look(self) -> None:
        """Show what the other processes have finished since the last look."""
        assert self.world is not None
        total = self.world.store.add(self.count, 0)
        if self.world.is_first and total > self.seen:
            self.listener.advance(total - self.seen)
            self.seen = total

    def wait(self) -> None:
        """Wait until all processes have finished, and show their progress meanwhile."""
        if self.world is None:
            return
        done = self.world.store.add(self.done, 1)
        while done < self.world.size:
            time.sleep(POLLED_S)
            self._look()
            done = self.world.store.add(self.done, 0)
        self._look()

    def tell(self, messages: list[list[tuple[int, str, str]]]) -> None:
        """Tell the messages of all processes, by item, in the first process."""
        if self.world is not None and self.world.is_first:
            for _, kind, text in sorted((entry for each in messages for entry in each), key=lambda entry: entry[0]):
                getattr(self.listener, kind)(text)
