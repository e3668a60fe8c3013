"""Owner of the process: the command line, or a program that imports segcli as a library.

The command line may set what counts for the whole process, such as signal handlers. A library leaves that alone.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from segcli.core.ranks import BEGAN, place

__all__ = ["arguments", "command_began", "command_line", "is_command_line"]

_running: list[tuple[list[str], float]] = []
"""Arguments of the commands that run in this process, and the times at which the user's commands began."""


@contextmanager
def command_line(given: Sequence[str] = ()) -> Iterator[None]:
    """Mark the process as that of a command.

    Args:
        given: Arguments of the command, as they were typed.
    """
    _running.append((list(given), time.monotonic() - _lead()))
    try:
        yield
    finally:
        _running.pop()


def _lead() -> float:
    """Return the seconds since the command of the user began, if that has started this process; else 0.

    Processes that are started again begin with themselves: what was before counts for their forerunners.
    """
    here = place()
    try:
        began = float(os.environ[BEGAN])
    except (KeyError, ValueError):
        return 0.0
    return 0.0 if here is None or here.restarts else max(time.time() - began, 0.0)


def is_command_line() -> bool:
    """Tell whether a command runs in this process.

    Example:
        >>> with command_line():
        ...     is_command_line()
        True
    """
    return bool(_running)


def arguments() -> list[str]:
    """Return the arguments of the command that runs in this process, as they were typed."""
    return list(_running[-1][0]) if _running else []


def command_began() -> float:
    """Return the time of `time.monotonic` at which the command of this process began; now if there is none.

    Of several processes, the command began with the one that has started them.
    """
    return _running[-1][1] if _running else time.monotonic()
