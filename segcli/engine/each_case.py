"""A function of every case, in several threads, because decoders release the interpreter lock."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
import psutil

from segcli.data.samples import Case
from segcli.engine.events import Listener

__all__ = ["each_case", "in_turn"]

Found = TypeVar("Found")
AHEAD = 16
"""Cases that wait for each thread: few enough that memory stays small."""
LARGE_BLOCK = 31 * 2**20
"""Bytes of a block that is freed at once, and never written to."""


def in_turn(function: Callable[[Case], Found], cases: Sequence[Case], listener: Listener) -> Iterator[Found]:
    """Call `function` on every case; yield the results in the order of the cases, of which few wait."""
    _keep_freed_memory()
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


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep the memory of one image for the next one.

    glibc gives freed blocks back to the system, and asks for them again, which takes as long as the work in small
    images. It does so with blocks above a size that follows the largest one freed so far, up to 32 MiB.
    """
    np.empty(LARGE_BLOCK, np.uint8)


def each_case(function: Callable[[Case], Found], cases: Sequence[Case], listener: Listener) -> list[Found]:
    """Call `function` on every case; return the results in the order of the cases."""
    return list(in_turn(function, cases, listener))
