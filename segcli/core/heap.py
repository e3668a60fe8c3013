"""Settings of the C library's memory allocator.

GNU's allocator returns each large block to the system as soon as it is freed. A training step on a CPU frees and
allocates the same large tensors again and again, and the system clears all their pages each time. This takes a tenth
to a third of the step.
"""

import ctypes
from contextlib import suppress
from functools import cache

import numpy as np

from segcli.core.platform import LINUX
from segcli.core.process import is_command_line

__all__ = ["keep_freed_blocks", "keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of `mallopt`, as in glibc's `malloc.h`."""
NEVER = 2**31 - 1
"""Threshold of free bytes above which the heap is trimmed; the largest value that `mallopt` accepts."""
LARGE_BLOCK = 31 * 2**20
"""Bytes of a block that is freed at once, and never written to."""


def keep_freed_memory() -> bool:
    """Keep freed memory in the process for later requests; the process then stays at its peak size.

    Returns:
        True if the process is that of a command, and the C library of this system supports it (GNU on Linux).
    """
    if not LINUX or not is_command_line():
        return False
    with suppress(OSError, AttributeError):  # other C libraries, such as musl, have no `mallopt`
        mallopt = ctypes.CDLL(None).mallopt
        return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, NEVER)])
    return False


@cache
def keep_freed_blocks() -> None:
    """Let the C library keep the memory of one image for the next one, at most 62 MiB.

    glibc gives freed blocks back to the system, and asks for them again, which takes as long as the work in small
    images. It does so with blocks above a size that follows the largest one freed so far, up to 32 MiB.
    """
    np.empty(LARGE_BLOCK, np.uint8)
