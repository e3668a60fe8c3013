"""Ctrl-C and SIGTERM: ask the work to stop at the next safe point."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from segcli.core.errors import Stopped

__all__ = ["StopSignal"]


class StopSignal:
    """Notes a stop signal while it is entered; the second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            raise KeyboardInterrupt
        self.signum = signum

    def raise_if_asked(self) -> None:
        """Stop here, if a signal came.

        Raises:
            Stopped: It did.
        """
        if self.signum is not None:
            raise Stopped(self.signum)
