"""Python's collector of garbage at the start of a command: what is imported then stays, and is searched in vain."""

import gc

__all__ = ["begin_start", "end_start"]

MOST = 2_000_000
"""New objects after which the collector works again although the start did not end; a start makes a sixth of them."""

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
