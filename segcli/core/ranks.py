"""Place of this process among the processes of one command, as `torchrun` states it in the environment.

Nothing here imports PyTorch, so that a command knows its place before it does anything else.
"""

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BEGAN", "FOLDER", "LOST", "Place", "job", "place", "share_of"]

FOLDER = "SEGCLI_LAUNCHER"
"""Variable of the environment with the folder in which processes leave their mistakes for the one that started them."""
BEGAN = "SEGCLI_BEGAN"
"""Variable of the environment with the time, of `time.time`, at which the process that started the others began."""
LOST = 75
"""Exit code of a process that ends only because another one has ended."""


@dataclass(frozen=True)
class Place:
    """Place of a process among those that do the same command."""

    rank: int
    """Number of the process, from 0."""
    size: int
    """Number of processes."""
    local_rank: int
    """Number of the process on its machine."""
    restarts: int
    """How often all processes were started again."""
    folder: Path | None
    """Folder for mistakes, where `segcli` itself started the processes; None below `torchrun`."""

    @property
    def name(self) -> str:
        """Name for messages; processes are counted from 0, as `torchrun` does."""
        return f"process {self.rank} of {self.size}"


def place() -> Place | None:
    """Find the place of this process; None if it works alone.

    Example:
        >>> place() is None
        True
    """
    if not all(name in os.environ for name in ("MASTER_ADDR", "MASTER_PORT")):
        return None
    rank, size, local = (_number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if rank is None or size is None or size < 2:
        return None
    folder = os.environ.get(FOLDER)
    restarts = _number("TORCHELASTIC_RESTART_COUNT") or 0
    return Place(rank, size, local or 0, restarts, Path(folder) if folder else None)


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else None


def job() -> str | None:
    """Name the process that started all of this machine and starts them again; None for a process alone."""
    if place() is None:
        return None
    import psutil  # noqa: PLC0415 - only here

    parent = psutil.Process(os.getppid())
    return f"{os.environ.get('TORCHELASTIC_RUN_ID', '')}:{parent.pid}:{parent.create_time():.2f}"


def share_of(count: int, rank: int, size: int, unit: int = 1) -> range:
    """Give the positions of a list that one of `size` processes takes: neighbours, as many as the others or one more.

    Args:
        count: Length of the list.
        rank: Number of the process, from 0.
        size: Number of processes.
        unit: Number of neighbours that stay together; as many units as the others, or one more.

    Example:
        >>> [list(share_of(5, rank, 3)) for rank in range(3)]
        [[0, 1], [2, 3], [4]]
        >>> [list(share_of(5, rank, 2, unit=2)) for rank in range(2)]
        [[0, 1, 2, 3], [4]]
    """
    each, more = divmod(-(-count // unit), size)
    first = rank * each + min(rank, more)
    return range(min(first * unit, count), min((first + each + (rank < more)) * unit, count))
