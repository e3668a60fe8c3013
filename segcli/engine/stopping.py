"""Stop on Ctrl-C and SIGTERM: at once, or in a training at the next safe point."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from segcli.core.errors import Stopped

__all__ = ["StopSignal"]


class StopSignal:
    """Turns a stop signal into `Stopped`: at once, or if `deferred` is set, at the next `raise_if_asked`.

    With `deferred`, a second signal stops at once.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.deferred = False
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
        if not self.deferred or self.signum is not None:
            raise Stopped(signum)
        self.signum = signum

    def raise_if_asked(self) -> None:
        """Stop here if a stop signal was received.

        Raises:
            Stopped: A stop signal was received.
        """
        if self.signum is not None:
            raise Stopped(self.signum)
