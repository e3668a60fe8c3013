"""Python's collector of garbage, which searches in vain what a command imports at its start."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["begin_start", "end_start", "resting"]

MOST = 2_000_000
"""New objects after which the collector works again although the start did not end; a start makes a sixth of them."""

RARELY = (100_000, 50, 1000)
"""Thresholds for work that leaves little garbage."""

_usual: list[tuple[int, int, int]] = []
"""Thresholds that count again after the start, if it is not over."""


def begin_start() -> None:
    """Let the collector rest while modules are imported."""
    if not _usual:
        _usual.append(gc.get_threshold())
        gc.set_threshold(MOST, *_usual[0][1:])


def end_start() -> None:
    """Let the collector work as usual, but no longer on what the start has made; after the first call nothing is left.

    Example:
        >>> before = gc.get_threshold()
        >>> begin_start(); gc.get_threshold()[0] == MOST
        True
        >>> end_start(); gc.get_threshold() == before
        True
    """
    if _usual:
        gc.freeze()
        gc.set_threshold(*_usual.pop())


@contextmanager
def resting() -> Iterator[None]:
    """Let the collector work rarely in this context.

    Example:
        >>> before = gc.get_threshold()
        >>> with resting(): gc.get_threshold()
        (100000, 50, 1000)
        >>> gc.get_threshold() == before
        True
    """
    before = gc.get_threshold()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
