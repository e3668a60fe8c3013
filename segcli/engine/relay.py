"""Progress of several processes on the bar of the first one."""

import time
from typing import TYPE_CHECKING

from segcli.engine.events import Listener, Silent

if TYPE_CHECKING:
    from segcli.engine.world import World

__all__ = ["POLLED_S", "Relay", "heard_by"]

POLLED_S = 0.1
"""Seconds between two looks at the progress of the others while a process waits for them."""


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
