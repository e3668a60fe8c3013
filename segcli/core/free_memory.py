"""Free memory of this process, and the refusal of work that cannot fit in it."""

import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from segcli.core.errors import DataError

__all__ = ["TOO_LARGE", "free_bytes", "refuse_more_than_free"]

CHECKED = 2**26
"""Bytes from which the free memory is looked up, which takes time."""
GROUP = Path("/sys/fs/cgroup")
"""Limits of a container or of a job of Slurm."""
TOO_LARGE = "cut the file into smaller ones, or use a machine with more memory"


def free_bytes() -> int:
    """Return the bytes that this process can still take: of the machine, of its container, and below `ulimit -v`."""
    free = [psutil.virtual_memory().available]
    with suppress(OSError, ValueError):  # no container, or one without a limit
        free.append(int((GROUP / "memory.max").read_text()) - int((GROUP / "memory.current").read_text()))
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - Windows has none

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            free.append(limit - psutil.Process().memory_info().vms)
    return max(min(free), 0)


def refuse_more_than_free(place: Path, shape: Sequence[int], itemsize: int) -> None:
    """Refuse an array that does not fit in the free memory.

    Args:
        place: The file.
        shape: Shape of the array, as the header states it.
        itemsize: Bytes per value.

    Raises:
        DataError: The array does not fit.
    """
    needed = math.prod(shape) * itemsize
    if needed >= CHECKED and needed > (free := free_bytes()):
        raise DataError(
            f"`{place}` states {'x'.join(map(str, shape))} values, which take {needed / 2**30:,.1f} GiB, but only "
            f"{free / 2**30:,.1f} GiB of memory are free",
            hint=TOO_LARGE,
        )
