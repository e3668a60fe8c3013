"""Owner of the process: the command line, or a program that imports segcli as a library.

The command line may set what counts for the whole process, such as signal handlers. A library leaves that alone.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["command_began", "command_line", "is_command_line"]

_running = 0
"""Number of commands that run in this process."""
_began = 0.0
"""Time at which the newest of them began."""


@contextmanager
def command_line() -> Iterator[None]:
    """Mark the process as that of a command."""
    global _began, _running  # noqa: PLW0603 - facts about the process
    _began = time.monotonic()
    _running += 1
    try:
        yield
    finally:
        _running -= 1


def is_command_line() -> bool:
    """Tell whether a command runs in this process.

    Example:
        >>> with command_line():
        ...     is_command_line()
        True
    """
    return _running > 0


def command_began() -> float:
    """Return the time of `time.monotonic` at which the command of this process began; now if there is none."""
    return _began if is_command_line() else time.monotonic()
