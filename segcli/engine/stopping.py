"""Stop on Ctrl-C, on a closed terminal, and when a scheduler asks: at once, or in a training at the next safe point."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from segcli.core.errors import Stopped
from segcli.core.signals import HANGUP, STOPPING

__all__ = ["StopSignal"]


class StopSignal:
    """Turns a stop signal into `Stopped`: at once, or if `deferred` is set, at the next `raise_if_asked`.

    With `deferred`, a second signal stops at once, except after a closed terminal, which may send several. A closed
    terminal stops nothing below `nohup`, which ignores SIGHUP.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.deferred = False
        self._before: dict[int, Any] = {}
        self._terminals: list[int] = []

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
            for signum in STOPPING:
                if signum != HANGUP or signal.getsignal(signum) != signal.SIG_IGN:
                    self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == HANGUP:
            self._drop_output()
        if not self.deferred or self.signum not in (None, HANGUP):
            raise Stopped(signum)
        self.signum = self.signum or signum

    def _drop_output(self) -> None:
        """Send what is still printed to nowhere: writing to a terminal that is gone fails, and would end the work."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in self._terminals:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)

    def raise_if_asked(self) -> None:
        """Stop here if a stop signal was received.

        Raises:
            Stopped: A stop signal was received.
        """
        if self.signum is not None:
            raise Stopped(self.signum)
