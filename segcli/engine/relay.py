"""Progress of several processes on the bar of the first one."""

import time
from typing import TYPE_CHECKING, Any

from segcli.engine.events import Listener, Silent

if TYPE_CHECKING:
    from segcli.engine.world import World

__all__ = ["Relay", "heard_by"]

POLLED_S = 0.1
"""Seconds between two looks at the progress of the others while the first process waits for them."""


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
        name: Name of the work; no other work of this command has it.
    """

    def __init__(self, world: "World | None", listener: Listener, name: str) -> None:
        self.world = None if world is None or world.is_alone else world
        self.listener = listener
        self.count, self.done = f"segcli/progress/{name}", f"segcli/done/{name}"
        self.seen = 0
        self.position = 0
        """Item that the next messages are about."""
        self.messages: list[tuple[int, str, str]] = []
        """Item, kind and text of each message of this process."""

    @property
    def _store(self) -> Any:
        from torch.distributed import distributed_c10d  # noqa: PLC0415 - a single process may work without PyTorch

        return distributed_c10d._get_default_store()

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
            self._store.add(self.count, count)

    def _look(self) -> None:
        """Show what the other processes have finished since the last look."""
        total = self._store.add(self.count, 0)
        if total > self.seen:
            self.listener.advance(total - self.seen)
            self.seen = total

    def wait(self) -> None:
        """Wait in the first process until the others have finished, and show their progress meanwhile."""
        if self.world is None:
            return
        if not self.world.is_first:
            self._store.add(self.done, 1)
            return
        while self._store.add(self.done, 0) < self.world.size - 1:
            self._look()
            time.sleep(POLLED_S)
        self._look()

    def tell(self, messages: list[list[tuple[int, str, str]]]) -> None:
        """Tell the messages of all processes, by item, in the first process."""
        if self.world is not None and self.world.is_first:
            for _, kind, text in sorted((entry for each in messages for entry in each), key=lambda entry: entry[0]):
                getattr(self.listener, kind)(text)
