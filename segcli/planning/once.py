"""Look at each file once: a folder is tried in several ways, which ask the same of its files."""

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

__all__ = ["once"]

MOST = 1024
"""Files of which is kept what was seen."""
Seen = TypeVar("Seen")


def once(look: Callable[[Path], Seen]) -> Callable[[Path], Seen]:
    """Keep what a function sees in a file until the file changes."""

    @lru_cache(MOST)
    def kept(path: Path, inode: int, changed: int, size: int) -> Seen:
        return look(path)

    @wraps(look)
    def seen(path: Path) -> Seen:
        try:
            state = path.stat()
        except OSError:
            return look(path)  # says what is wrong
        if not S_ISREG(state.st_mode):
            return look(path)  # a folder of pictures stays the same when one of them changes
        return kept(path, state.st_ino, state.st_mtime_ns, state.st_size)

    return seen
