"""How the C library hands memory out.

GNU's returns each large block to the system as soon as it is freed. A training step on a CPU frees and asks for the
same large tensors over and over, and the system clears every page of them anew: a tenth to a third of the step.
"""

import ctypes
import sys
from contextlib import suppress

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of `mallopt`, as in glibc's `malloc.h`."""
NEVER = 2**31 - 1
"""Free bytes at the end of the heap above which they go back; the most that `mallopt` takes."""


def keep_freed_memory() -> bool:
    """From now on keep what is freed for the next request, so that the process stays at its peak.

    Returns:
        Whether this system's C library can: GNU's on Linux.
    """
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):  # another C library, such as musl, knows no `mallopt`
        mallopt = ctypes.CDLL(None).mallopt
        return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, NEVER)])
    return False
