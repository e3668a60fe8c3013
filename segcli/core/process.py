"""Owner of the process: the command line, or a program that imports segcli as a library.

The command line may set what counts for the whole process, such as signal handlers. A library leaves that alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["command_line", "is_command_line"]

_running = 0
"""Number of commands that run in this process."""


@contextmanager
def command_line() -> Iterator[None]:
    """Mark the process as that of a command."""
    global _running  # noqa: PLW0603 - a fact about the process
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
