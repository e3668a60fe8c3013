"""Files that are written in threads while the work goes on: a flush waits milliseconds for the disk."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

__all__ = ["WritesBehind"]

THREADS = 4
"""Files that are flushed at once: the disk writes what waits together."""
MOST_BYTES = 16 * 1024**2
"""Bytes that may wait to be written, unless it is a single file."""


class WritesBehind:
    """Runs writes in a few threads; a write that fails raises its error at the next write, or at the end.

    Use it as a context: at its end, every write is done. If the work inside fails, its own error is raised.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "write")
        self._waiting: deque[tuple[int, Future[Any]]] = deque()

    def __enter__(self) -> "WritesBehind":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self.settle()

    def write(self, num_bytes: int, call: Callable[..., Any], *arguments: Any) -> None:
        """Start a write as soon as there is room.

        Args:
            num_bytes: Bytes that the write holds in memory until it is done.
            call: Writes the file.
            arguments: Arguments of the call.
        """
        while self._waiting and (len(self._waiting) >= THREADS or self._bytes() + num_bytes > MOST_BYTES):
            self._settle_first()
        self._waiting.append((num_bytes, self._pool.submit(call, *arguments)))

    def settle(self) -> None:
        """Wait until every write is done; raises the error of the first that failed."""
        while self._waiting:
            self._settle_first()

    def _bytes(self) -> int:
        return sum(num_bytes for num_bytes, _ in self._waiting)

    def _settle_first(self) -> None:
        self._waiting.popleft()[1].result()
