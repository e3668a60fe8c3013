"""Buffer for planes that are written in larger groups."""

from collections.abc import Callable

import numpy as np

from segcli.core.types import Array

__all__ = ["Gathered"]


class Gathered:
    """Collects planes and writes them in groups.

    Args:
        write: Takes the number of the first plane and a group.
        count: Planes of a group.
    """

    def __init__(self, write: Callable[[int, Array], None], count: int) -> None:
        self.write, self.count = write, max(count, 1)
        self.waiting: list[Array] = []
        self.done = 0

    def add(self, planes: Array) -> None:
        """Add the next planes."""
        self.waiting.append(planes)
        if sum(map(len, self.waiting)) >= self.count:
            joined = np.concatenate(self.waiting)
            whole = len(joined) // self.count * self.count
            self.waiting = [joined[whole:]]
            for start in range(0, whole, self.count):
                self._put(joined[start : start + self.count])

    def finish(self) -> None:
        """Write the remaining planes."""
        rest = np.concatenate(self.waiting) if self.waiting else np.zeros(0)
        self.waiting = []
        if len(rest):
            self._put(rest)

    def _put(self, planes: Array) -> None:
        self.write(self.done, planes)
        self.done += len(planes)
