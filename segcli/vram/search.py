"""Search for the largest batch or image that fits, with as few simulations as possible.

As a rule, a block is of one size, or as large as the number of images or pixels is. So a first simulation shows where
the answer should be, and a second one there confirms it, block by block. Where blocks are on other lines, two
simulations give the line of each block, and a third one confirms the answer.
"""

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from segcli.core.types import Array
from segcli.vram.allocator import LEAST
from segcli.vram.recorder import Log
from segcli.vram.replay import fits

__all__ = ["Search"]

REFINED = 3
"""Most lines that are tried one after the other where blocks do not grow linearly; each begins at the last guess."""


class Search:
    """Finds the largest number that fits: of images in a batch, or of strides along the side of an image.

    Args:
        simulated: Simulates a number; None if training refuses it because it is too small.
        work: Images or pixels of a number, in which the sizes of blocks are linear as a rule.
        capacity: Bytes that the allocator may reserve.
        most: Largest number to search.
        grows: Guesses which blocks of a simulation grow; it decides on the number of simulations, not on the answer.
    """

    def __init__(
        self,
        simulated: Callable[[int], Log | None],
        work: Callable[[int], float],
        capacity: int,
        most: int,
        grows: Callable[[Log], Array] | None = None,
    ) -> None:
        self.simulated, self.work, self.capacity, self.most, self.grows = simulated, work, capacity, most, grows
        self.logs: dict[int, Log | None] = {}
        self.known: dict[int, bool] = {}
        self.served: dict[tuple[int, bytes], bool] = {}
        """Results of `serves`."""

    def log(self, number: int) -> Log | None:
        """Return the log of a number, simulated once."""
        if number not in self.logs:
            self.logs[number] = self.simulated(number)
        return self.logs[number]

    def largest(self, first: int, guess: int) -> int:
        """Find the largest number from 0 to `most` that fits, provided that all smaller numbers fit.

        The answer was simulated and fits. The next number was simulated and does not fit; or its blocks follow from
        simulations that determine them to the byte, one of them that of the answer: from two if each block has one size
        or grows like the number, else from three that lie on one line.

        Args:
            first: Number that is simulated anyhow, to begin with.
            guess: Estimate of the answer, for the second simulation; it is made better if it is known what grows.
        """
        first, guess = (min(max(number, 1), self.most) for number in (first, guess))
        guess = self._guessed(first, guess)
        if guess == first:
            guess = first + 1 if first < self.most else first - 1
        for _ in range(REFINED):
            line = self._line(first, guess) if guess else None
            if line is None:
                first, guess = guess, self._guessed(guess, guess) if guess else guess
                if guess == first:
                    break
                continue
            first, guess = guess, max(_largest(line.fits, self.most), 1)
            log = self.log(guess)
            if guess == first or (log is not None and line.passes(guess, log)):
                break
        return _largest(self._fits, self.most, guess)

    def _guessed(self, first: int, guess: int) -> int:
        """Estimate the answer from a single simulation, in which blocks grow like the number or not at all."""
        log = self.log(first)
        if log is None or self.grows is None:
            return guess
        sizes, grows, here = _sizes(log), self.grows(log), self.work(first)

        def seems_to_fit(number: int) -> bool:
            scaled = np.where(grows, np.rint(sizes * (self.work(number) / here)), sizes)
            return self.serves(log.events, scaled.astype(np.int64))

        return max(_largest(seems_to_fit, self.most), 1)

    def serves(self, events: list[int], sizes: Array) -> bool:
        """Tell if the allocator can serve all events; what takes more at one time than there is needs no replay."""
        taken = -(-sizes // LEAST) * LEAST
        key = id(events), taken.tobytes()
        if key not in self.served:
            changes = np.where(np.array(events) >= 0, 1, -1) * taken[[max(event, ~event) for event in events]]
            is_over = bool(np.cumsum(changes).max(initial=0) > self.capacity)
            self.served[key] = not is_over and fits(events, taken.tolist(), self.capacity)
        return self.served[key]

    def _fits(self, number: int) -> bool:
        """Tell if a number fits: by its simulation, or by a confirmed line that it does not."""
        if number not in self.known:
            is_over = number not in self.logs and any(not line.fits(number) for line in self._confirmed(number - 1))
            self.known[number] = not is_over and self._simulation_fits(number)
        return self.known[number]

    def _simulation_fits(self, number: int) -> bool:
        log = self.log(number)
        return log is not None and self.serves(log.events, _sizes(log))

    def _confirmed(self, number: int) -> "Iterator[Line]":
        """Yield a line to the simulation of a number that is sure from its form, or passes through two others."""
        log = self.logs.get(number)
        if log is None:
            return
        others = self.logs.keys() - {number}
        for one in others:
            line = self._line(one, number)
            if line is not None and line.is_plain:
                yield line
                return
        for one, two in combinations(others, 2):
            line = self._line(one, two)
            if line is not None and line.passes(number, log):
                yield line
                return

    def _line(self, one: int, two: int) -> "Line | None":
        """Return the line through two simulations; None if they have other blocks, or take them in another order."""
        first, second = self.log(one), self.log(two)
        if first is None or second is None or first.events != second.events:
            return None
        return Line(first, second, (self.work(one), self.work(two)), self)


class Line:
    """Sizes of all blocks on the line through two simulations.

    Args:
        first: Log of one simulation.
        second: Log of the other one, with the same events.
        works: Images or pixels of both.
        search: Search that the line belongs to.
    """

    def __init__(self, first: Log, second: Log, works: tuple[float, float], search: Search) -> None:
        self.events, self.sizes, self.works, self.search = first.events, _sizes(first), works, search
        self.growth = _sizes(second) - self.sizes

    def at(self, number: int) -> Array:
        """Compute the size of each block for a number."""
        here, there = self.works
        steps = (self.search.work(number) - here) / (there - here)
        return np.maximum(np.rint(self.sizes + steps * self.growth), 1).astype(np.int64)

    @property
    def is_plain(self) -> bool:
        """Tell if each block has one size, or grows like the number: then two simulations determine it twice."""
        here, there = self.works
        grown = self.sizes + self.growth
        return bool(np.all((self.growth == 0) | (np.rint(self.sizes * (there / here)) == grown)))

    def fits(self, number: int) -> bool:
        """Tell if a number fits by its blocks on the line."""
        return self.search.serves(self.events, self.at(number))

    def passes(self, number: int, log: Log) -> bool:
        """Tell if the line passes through a simulation, to the byte."""
        return self.events == log.events and bool(np.array_equal(self.at(number), _sizes(log)))


def _sizes(log: Log) -> Array:
    return np.maximum(np.array([block.size for block in log.blocks], dtype=np.int64), 1)


def _largest(fitting: Callable[[int], bool], most: int, guess: int = 1) -> int:
    """Find the largest number from 0 to `most` that fits, provided that all smaller numbers fit."""
    low, high = 0, most + 1
    number, step = min(max(guess, 1), most), 1
    while high - low > 1:
        if fitting(number):
            low = number
        else:
            high = number
        # move away from the guess in growing steps until there is a bound on each side, then bisect
        ahead = low + step if high > most else high - step if low == 0 else (low + high) // 2
        number, step = ahead if low < ahead < high else (low + high) // 2, step * 2
    return low
