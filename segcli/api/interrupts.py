"""Ctrl-C during a training that a program called, without a signal handler.

Python raises KeyboardInterrupt in the main thread, between any two instructions. A training step that is broken off
leaves a state from which no run can be resumed exactly. The training therefore runs in a thread of its own, which is
asked to stop, and saves a checkpoint after its step.
"""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TypeVar

from segcli.core.errors import Stopped
from segcli.engine.stopping import StopSignal

__all__ = ["interruptible"]

T = TypeVar("T")
POLL_S = 0.5
"""Seconds between two looks at the thread; Windows notices Ctrl-C only then."""


def interruptible(work: Callable[[StopSignal], T], *, handle_signals: bool) -> T:
    """Train, and stop with a checkpoint on Ctrl-C.

    Args:
        work: Trains until the signal that it is given asks for a stop.
        handle_signals: Install signal handlers in the main thread, as the command does, for as long as the work takes.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; everything is saved.
        Stopped: `handle_signals` is set, and a signal asked for a stop; everything is saved.
    """
    if handle_signals or threading.current_thread() is not threading.main_thread():
        return work(StopSignal(handles=handle_signals))
    stop = StopSignal(handles=False)
    with ThreadPoolExecutor(1, "segcli") as pool:
        future = pool.submit(work, stop)
        try:
            _wait(future)
        except KeyboardInterrupt:
            stop.signum = signal.SIGINT
            _wait(future)
            with suppress(Stopped):
                future.result()
            raise
        return future.result()


def _wait(future: "Future[T]") -> None:
    while not future.done():
        wait([future], timeout=POLL_S)
