"""Show that a command has begun, while PyTorch is still being imported; only on a terminal."""

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from itertools import cycle
from typing import Any

__all__ = ["end", "moving"]

FIRST_S = 0.3
"""Seconds before anything is shown; what ends earlier shows nothing."""
EVERY_S = 0.25
"""Seconds between two pictures."""


class _Spinner:
    """A line that moves in a thread until it is ended."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self._spin, name="starting", daemon=True)
        self.thread.start()

    def _spin(self) -> None:
        pause, line = FIRST_S, ""
        for mark in cycle("|/-\\"):
            if self.over.wait(pause):
                break
            pause, line = EVERY_S, f"{mark} starting  {time.monotonic() - self.began:.0f} s"
            _draw(line)
        if line:
            _draw(" " * len(line))
            _draw("")

    def end(self) -> None:
        self.over.set()
        self.thread.join()


def _draw(line: str) -> None:
    sys.stderr.write(f"\r{line}")
    sys.stderr.flush()


_shown: list[_Spinner] = []
"""The line that moves now, if there is one."""


def end() -> float | None:
    """Remove the line from the terminal; call this before printing.

    Returns:
        When the line began, as `time.monotonic`; None without a line.
    """
    if not _shown:
        return None
    spinner = _shown.pop()
    spinner.end()
    return spinner.began


def moving(command: Callable[..., None]) -> Callable[..., None]:
    """Show a moving line from the start of a command until something else is printed, unless it is quiet."""

    @wraps(command)
    def moved(*arguments: Any, quiet: bool = False, as_json: bool = False, **options: Any) -> None:
        if not (quiet or as_json) and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            _shown.append(_Spinner())
        try:
            command(*arguments, quiet=quiet, as_json=as_json, **options)
        finally:
            end()

    return moved
