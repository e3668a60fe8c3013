"""A function of every case, in several threads, because decoders release the interpreter lock."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil

from segcli.data.samples import Case
from segcli.engine.events import Listener

__all__ = ["each_case"]

Found = TypeVar("Found")


def each_case(function: Callable[[Case], Found], cases: Sequence[Case], listener: Listener) -> list[Found]:
    """Call `function` on every case; return the results in the order of the cases."""
    results = []
    with ThreadPoolExecutor(max_workers=min(8, psutil.cpu_count() or 1)) as pool:
        for result in pool.map(function, cases):
            results.append(result)
            listener.advance()
    return results
