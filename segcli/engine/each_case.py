"""A function of every case, in several threads, because decoders release the interpreter lock."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import psutil

from segcli.core.heap import keep_freed_blocks
from segcli.data.samples import Case
from segcli.engine.events import Listener

__all__ = ["each_case", "in_turn"]

Found = TypeVar("Found")
AHEAD = 16
"""Cases that wait for each thread: few enough that memory stays small."""


def in_turn(function: Callable[[Case], Found], cases: Sequence[Case], listener: Listener) -> Iterator[Found]:
    """Call `function` on every case; yield the results in the order of the cases, of which few wait."""
    keep_freed_blocks()
    threads = min(8, psutil.cpu_count() or 1)
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for case in cases:
            if len(waiting) >= AHEAD * threads:
                yield waiting.popleft().result()
                listener.advance()
            waiting.append(pool.submit(function, case))
        while waiting:
            yield waiting.popleft().result()
            listener.advance()


def each_case(function: Callable[[Case], Found], cases: Sequence[Case], listener: Listener) -> list[Found]:
    """Call `function` on every case; return the results in the order of the cases."""
    return list(in_turn(function, cases, listener))
