"""Stop on Ctrl-C, on a closed terminal, and when a scheduler asks: at once, or in a training at the next safe point."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from segcli.core.errors import Stopped
from segcli.core.platform import HANGUP, STOPPING, interrupt_main
from segcli.core.process import is_command_line
from segcli.core.ranks import place

__all__ = ["StopSignal"]

REPEATED_S = 0.2
"""Seconds after which `Stopped` is raised again if other code has caught it and goes on."""
STOPPING_SOON = "stopping after this batch"
AGAIN = "Ctrl-C again stops at once, without saving"


class StopSignal:
    """Turns a stop signal into `Stopped`: at once, or if `deferred` is set, at the next `raise_if_asked`.

    With `deferred`, a second signal stops at once, except after a closed terminal, which may send several, and in one
    of several processes, which may receive one from each of several senders. A closed terminal stops nothing below
    `nohup`, which ignores SIGHUP.

    Other packages may catch `Stopped` and go on, or turn it into an error of their own. Therefore it is raised again
    until it leaves this context, and whatever leaves the context after it becomes `Stopped`.

    Args:
        handles: Install signal handlers for as long as the work takes; default: only where a command runs, because a
            library leaves the signals of a program alone.
    """

    def __init__(self, *, handles: bool | None = None) -> None:
        self.handles = is_command_line() if handles is None else handles
        self.signum: int | None = None
        self.deferred = False
        self._say: Callable[[str], None] | None = None
        self._saying: threading.Thread | None = None
        self._before: dict[int, Any] = {}
        self._terminals: list[int] = []
        self._repeating: threading.Thread | None = None
        self._repeats = False
        """True while the signal that arrives is our own repetition."""
        self._over = threading.Event()

    def __enter__(self) -> "StopSignal":
        if self.handles and threading.current_thread() is threading.main_thread():
            self._terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._show_unraisable
            for signum in STOPPING:
                if signum != HANGUP or signal.getsignal(signum) != signal.SIG_IGN:
                    self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._repeating is not None:
            self._repeating.join()
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        if self._before:
            sys.unraisablehook = self._unraisable
        if self._repeating is not None and not isinstance(error, Stopped):
            assert self.signum is not None
            raise Stopped(self.signum) from None

    def defer(self, say: Callable[[str], None]) -> None:
        """Set `deferred`, and tell the user of the first signal at once.

        Args:
            say: Receives the message.
        """
        self.deferred, self._say = True, say

    def join(self, signum: int) -> None:
        """Take over a signal that another process has received; 0 for none."""
        self.signum = self.signum or signum or None

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self._repeats:
            self._repeats = False
            if self._over.is_set() or _is_leaving():
                return
            raise Stopped(signum)
        if signum == HANGUP:
            self._drop_output()
        if self.deferred and self.signum in (None, HANGUP):
            if self.signum is None:
                self.signum = signum
                self._answer(signum)
            return
        if self.deferred and place() is not None:
            return  # a scheduler signals every process, and whoever started this one passes the signal on
        self.signum = signum
        if self._repeating is None:
            self._repeating = threading.Thread(target=self._repeat, args=(signum,), daemon=True)
            self._repeating.start()
        raise Stopped(signum)

    def _answer(self, signum: int) -> None:
        """Tell of the signal, in a thread: it may have interrupted this one in the middle of printing."""
        if self._say is not None and signum != HANGUP:
            text = f"{STOPPING_SOON}; {AGAIN}" if signum == signal.SIGINT else STOPPING_SOON
            self._saying = threading.Thread(target=self._say, args=(text,), daemon=True)
            self._saying.start()

    def _repeat(self, signum: int) -> None:
        while not self._over.wait(REPEATED_S):
            self._repeats = True
            interrupt_main(signum)

    def _show_unraisable(self, found: Any) -> None:
        """Show an error that Python cannot raise, such as one in a destructor; `Stopped` is raised again anyway."""
        if not isinstance(found.exc_value, Stopped):
            self._unraisable(found)

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
            if self._saying is not None:
                self._saying.join()
            raise Stopped(self.signum)


def _is_leaving() -> bool:
    """Tell whether the interrupted code is cleaning up after `Stopped`, in an `except`, `finally` or `with`."""
    error = sys.exception()
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error is not None
