"""Folds of a cross-validation on several processes: each trains some of them, and the first one tells of all."""

import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from segcli.engine.events import POLLED_S, EpochDone, Listener, StepDone
from segcli.engine.world import World

__all__ = ["Folds"]

LOOK_EVERY_S = 0.5
"""Seconds between two looks at what the other processes tell."""


class Folds:
    """Shares out the folds, and brings the messages of all processes to the first one.

    The messages go through PyTorch's store, so that no process waits for another one.

    Args:
        world: The processes.
        count: Number of folds.
        listener: Receives the messages; that of the first process.
    """

    def __init__(self, world: World, count: int, listener: Listener) -> None:
        self.world, self.count, self.listener = world, count, listener
        self.heard = 0
        self.looked = time.monotonic()

    def mine(self) -> Iterator[tuple[int, Listener]]:
        """Yield the folds that this process trains, with a listener for each; a free process takes the next one."""
        if self.world.is_alone:
            for index in range(self.count):
                self.listener.notice(f"fold {index + 1} of {self.count}")
                yield index, self.listener
            return
        while (index := self.world.store.add("segcli/fold", 1) - 1) < self.count:
            self.tell("notice", f"fold {index + 1} of {self.count}: process {self.world.rank} begins")
            yield index, _Fold(self, f"fold {index + 1}")

    def tell(self, kind: str, what: "str | EpochDone") -> None:
        """Tell a message, or leave it for the first process."""
        if self.world.is_first:
            getattr(self.listener, kind)(what)
            self.look()
            return
        number = self.world.store.add("segcli/messages", 1)
        self.world.store.set(f"segcli/message/{number}", pickle.dumps((kind, what)))

    def look(self, *, at_once: bool = False) -> None:
        """Tell what the other processes have left, in the first process; not more than twice a second."""
        if not self.world.is_first or (time.monotonic() - self.looked < LOOK_EVERY_S and not at_once):
            return
        self.looked = time.monotonic()
        while self.heard < self.world.store.add("segcli/messages", 0):
            self.heard += 1
            # written by a process of this command
            kind, what = pickle.loads(self.world.store.get(f"segcli/message/{self.heard}"))
            getattr(self.listener, kind)(what)

    def wait(self) -> None:
        """Wait until all folds are trained, and tell messages meanwhile."""
        if self.world.is_alone:
            return
        done = self.world.store.add("segcli/folds_done", 1)
        while done < self.world.size:
            time.sleep(POLLED_S)
            self.look()
            done = self.world.store.add("segcli/folds_done", 0)
        self.look(at_once=True)


class _Fold:
    """Listener of one fold: its lines begin with its name; the bar shows the fold of the first process.

    Args:
        folds: All folds.
        name: Name of this one.
    """

    def __init__(self, folds: Folds, name: str) -> None:
        self.folds, self.name = folds, name

    def notice(self, text: str) -> None:
        """Tell a notice."""
        self.folds.tell("notice", f"{self.name}: {text}")

    def warn(self, text: str) -> None:
        """Tell a warning."""
        self.folds.tell("warn", f"{self.name}: {text}")

    def epoch(self, event: EpochDone) -> None:
        """Tell the results of an epoch."""
        self.folds.tell("epoch", replace(event, name=self.name))

    def stage(self, text: str, total: int | None = None) -> None:
        """Move the bar."""
        self._move(lambda: self.folds.listener.stage(f"{self.name}, {text}", total))

    def advance(self, count: int = 1) -> None:
        """Move the bar."""
        self._move(lambda: self.folds.listener.advance(count))

    def step(self, event: StepDone) -> None:
        """Move the bar."""
        self._move(lambda: self.folds.listener.step(event))

    def _move(self, show: Callable[[], None]) -> None:
        if self.folds.world.is_first:
            show()
            self.folds.look()
