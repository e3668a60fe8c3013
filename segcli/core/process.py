"""Owner of the process: the command line, or a program that imports segcli as a library.

The command line may set what counts for the whole process, such as signal handlers. A library leaves that alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["arguments", "command_line", "is_command_line"]

_running: list[list[str]] = []
"""Arguments of the commands that run in this process."""


@contextmanager
def command_line(given: Sequence[str] = ()) -> Iterator[None]:
    """Mark the process as that of a command.

    Args:
        given: Arguments of the command, as they were typed.
    """
    _running.append(list(given))
    try:
        yield
    finally:
        _running.pop()


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
    return list(_running[-1]) if _running else []
