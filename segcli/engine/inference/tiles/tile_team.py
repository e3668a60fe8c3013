"""Tiles of one image, shared out between processes; the first process gets their outputs in the order of the tiles.

This module does not load PyTorch.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from segcli.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from segcli.engine.world import World

__all__ = ["TileTeam"]

Group = TypeVar("Group")


class _LeftError(Exception):
    """This process leaves the image, because another one cannot go on with it."""


class TileTeam:
    """Lets every process run the network on some tiles of an image; the first process blends all of them.

    The processes work in rounds: in each, a process computes one group of tiles. The first process receives the outputs
    of the round and adds them in the order that a single process has, so that it gets the same bits.

    Args:
        world: The processes.
    """

    def __init__(self, world: "World") -> None:
        self.world = world
        self.rank, self.size = world.rank, world.size
        self.is_open = False
        """True while the other processes may wait for this one."""

    @contextmanager
    def image(self) -> Iterator[None]:
        """Work on one image; a `DataError` in one process ends the image in all, and the first process raises it."""
        self.is_open = True
        problem: Exception | None = None
        try:
            yield
        except (DataError, _LeftError) as error:
            problem = error
        if self.is_open:
            self._problems(problem or _LeftError())
        if isinstance(problem, DataError) and self.world.is_first:
            raise problem

    def share(self, groups: "Sequence[Group]") -> "list[Group]":
        """Choose this process's groups of tiles: the first, and then each `size` groups later."""
        return list(groups[self.rank :: self.size])

    def outputs(self, own: "Generator[dict[str, Any]]", count: int) -> Iterator[dict[str, Any]]:
        """Yield the outputs of all `count` groups of tiles, in order; for the first process.

        Args:
            own: Outputs of this process's groups.
            count: Groups of tiles of the image.

        Raises:
            DataError: A process cannot read its part of the image.
        """
        with closing(own):
            for left in range(count, 0, -self.size):
                yield from self._round(own, left)

    def help(self, own: "Generator[dict[str, Any]]", count: int) -> None:
        """Compute the outputs of this process's groups of tiles, and send them to the first process."""
        with closing(own):
            for left in range(count, 0, -self.size):
                self._round(own, left)

    def _round(self, own: Iterator[dict[str, Any]], left: int) -> list[dict[str, Any]]:
        """Compute a group of tiles in each process; the first process gets the outputs of all.

        Args:
            own: Outputs of this process's groups.
            left: Groups of the image that are not computed yet.
        """
        found = next(own, None)
        problems = self._problems(None)
        if problems:
            raise problems[0] if self.world.is_first else _LeftError
        self.is_open = left > self.size
        return [outputs for outputs in self.world.collected(found) if outputs is not None]

    def _problems(self, own: Exception | None) -> list[Exception]:
        """Hear whether the processes can go on, in the order of their ranks; all leave the image if one cannot."""
        problems = [each for each in self.world.gathered(own) if each is not None]
        self.is_open = self.is_open and not problems
        return problems
