"""A function of every case, in several threads, because decoders release the interpreter lock."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import psutil

from segcli.data.samples import Case
from segcli.engine.events import Listener

__all__ = ["each_case"]

Found = TypeVar("Found")
AHEAD = 16
"""Cases that wait for each thread: few enough that memory stays small."""


def each_case(function: Callable[[Case], Found], cases: Sequence[Case], listener: Listener) -> list[Found]:
    """Call `function` on every case; return the results in the order of the cases."""
    results = []
    threads = min(8, psutil.cpu_count() or 1)
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for case in cases:
            if len(waiting) >= AHEAD * threads:
                results.append(waiting.popleft().result())
                listener.advance()
            waiting.append(pool.submit(function, case))
        for future in waiting:
            results.append(future.result())
            listener.advance()
    return results
