"""Functions that run in lockstep, one at a time, and exchange numbers where they meet.

Each has a thread of its own, because PyTorch's backward cannot be left in the middle otherwise. Only one of them runs
at any moment, so they may share a network, and PyTorch's random generator has the state of the one that runs.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from segcli.core.errors import ConfigError

__all__ = ["THREADS", "Lockstep"]

THREADS = 1
"""Threads of PyTorch in each function; sums may depend on their number."""
Result = TypeVar("Result")


class _AbandonedError(Exception):
    """Another function has failed."""


class Lockstep:
    """Runs functions in lockstep.

    Args:
        combine: Makes, of what all functions bring to a meeting, what all of them take from it.
    """

    def __init__(self, combine: Callable[[list[Tensor]], Tensor]) -> None:
        self.combine = combine
        self.turn = 0
        """Number of the function that runs, from 0."""
        self._states: list[Tensor] = []
        self._reset(0)

    def _reset(self, count: int) -> None:
        self._turns = [threading.Semaphore(0) for _ in range(count)]
        self._brought: list[Any] = [None] * count
        self._taken: Any = None
        self._open = set(range(count))
        self._error: BaseException | None = None

    def run(self, works: Sequence[Callable[[], Result]], states: list[Tensor]) -> list[Result]:
        """Run the functions to their ends.

        Args:
            works: The functions; all of them must come to the same meetings.
            states: State of PyTorch's random generator for each of them; replaced by the states at their ends.

        Raises:
            ConfigError: The functions do not come to the same meetings.
        """
        before = torch.get_rng_state()
        self._reset(len(works))
        self._states = states
        results: list[Any] = [None] * len(works)
        try:
            if len(works) == 1:
                self._work(0, works, results)
            else:
                self._run_threads(works, results)
        finally:
            torch.set_rng_state(before)
        if self._error is not None:
            raise self._error
        return results

    def _run_threads(self, works: Sequence[Callable[[], Any]], results: list[Any]) -> None:
        def work(index: int) -> None:
            torch.set_num_threads(THREADS)
            self._turns[index].acquire()
            self._work(index, works, results)

        threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(works))]
        for thread in threads:
            thread.start()
        self._turns[0].release()
        try:
            for thread in threads:
                thread.join()
        except BaseException as error:  # a signal: those that wait end, too
            self._abandon(error)
            raise

    def meet(self, value: Tensor) -> Tensor:
        """Bring a value to the next meeting, and take what is made of all values."""
        index, last = self.turn, len(self._turns) - 1
        self._brought[index] = value
        self._leave(index)
        if index == last:
            self._refuse_uneven(len({each.shape for each in self._brought}) == 1 and len(self._open) == last + 1)
            self._taken = self.combine(self._brought)
        if last:
            self._turns[0 if index == last else index + 1].release()
            self._turns[index].acquire()
        self._enter(index)
        taken: Tensor = self._taken
        return taken

    def _work(self, index: int, works: Sequence[Callable[[], Any]], results: list[Any]) -> None:
        try:
            self._enter(index)
            results[index] = works[index]()
            self._leave(index)
            self._open.discard(index)
            if index + 1 < len(works):
                self._turns[index + 1].release()
            else:
                self._refuse_uneven(not self._open)
        except BaseException as error:
            self._open.discard(index)
            self._abandon(error)

    def _enter(self, index: int) -> None:
        if self._error is not None:
            raise _AbandonedError
        self.turn = index
        torch.set_rng_state(self._states[index])

    def _leave(self, index: int) -> None:
        self._states[index] = torch.get_rng_state()

    @staticmethod
    def _refuse_uneven(is_even: object) -> None:
        if not is_even:
            raise ConfigError(
                "the network takes other batch norms for other images, which does not work with "
                "`training.reduce: exact`",
                hint="set `training.reduce=fast`",
            )

    def _abandon(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
            for index in list(self._open):
                self._turns[index].release()
