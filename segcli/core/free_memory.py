"""Memory of this machine and of this process, and the refusal of files that cannot fit in it."""

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from segcli.core.errors import DataError
from segcli.core.platform import CGROUP, memory_limit

__all__ = ["TOO_LARGE", "free_bytes", "refuse_more_than_free", "too_large"]

CHECKED = 2**26
"""Bytes from which the free memory is looked up, which takes time."""
TOO_LARGE = "cut the file into smaller ones, or use a machine with more memory"


def free_bytes() -> int:
    """Return the bytes that this process can still take: of the machine, of its container, and below `ulimit -v`."""
    free = [psutil.virtual_memory().available]
    with suppress(OSError, ValueError):  # no container, or one without a limit
        free.append(int((CGROUP / "memory.max").read_text()) - _used_by_container())
    limit = memory_limit()
    if limit is not None:
        free.append(limit - psutil.Process().memory_info().vms)
    return max(min(free), 0)


def _used_by_container() -> int:
    """Return the bytes that are in use, without those of files that the kernel keeps only as long as nobody asks."""
    stated = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    return int((CGROUP / "memory.current").read_text()) - int(stated.get("inactive_file", 0))


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


def too_large(subject: str, needed: int) -> str | None:
    """Say that something takes more memory than this machine has; None if it fits.

    Args:
        subject: What it is, as the beginning of a sentence.
        needed: Bytes.
    """
    memory = psutil.virtual_memory().total
    if needed <= memory:
        return None
    return f"{subject} takes {needed / 2**30:,.0f} GiB, but this machine has {memory / 2**30:,.0f} GiB"
