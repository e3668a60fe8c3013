"""GPUs of this machine and their memory by process."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["GPU", "Holder", "Holders"]


@dataclass(frozen=True)
class Holder:
    """Process with memory on a GPU."""

    pid: int
    name: str
    held: int | None
    """Bytes; None if the driver does not report them, for example in containers and on Windows."""
    run: str | None = None
    """Run of segcli that the process trains."""
    allocated: int | None = None
    """Bytes in tensors, from the last line of the run's `memory.csv`."""
    reserved: int | None = None
    """Bytes reserved by PyTorch's allocator, including tensors, from the same line."""

    @property
    def outside(self) -> int | None:
        """Bytes outside of PyTorch's allocator: context, kernels, libraries."""
        return None if self.held is None or self.reserved is None else max(self.held - self.reserved, 0)


@dataclass(frozen=True)
class GPU:
    """GPU with its memory, as reported by the driver."""

    index: int
    name: str
    total: int
    used: int
    holders: list[Holder]

    @property
    def free(self) -> int:
        """Free memory in bytes."""
        return self.total - self.used

    @property
    def unexplained(self) -> int | None:
        """Used bytes that belong to no listed process: driver, display, processes in other containers."""
        held = [holder.held for holder in self.holders]
        return None if None in held else max(self.used - sum(size or 0 for size in held), 0)


@dataclass(frozen=True)
class Holders:
    """GPUs and processes that the drivers report."""

    source: str
    """Name of the library or command that was queried."""
    gpus: list[GPU]
    unplaced: list[Holder] = field(default_factory=list)
    """Processes whose GPU is not reported; happens with `rocm-smi` and several GPUs."""

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain values for `--json`."""
        return {
            "source": self.source,
            "gpus": [
                {
                    "index": gpu.index,
                    "name": gpu.name,
                    "total_bytes": gpu.total,
                    "used_bytes": gpu.used,
                    "free_bytes": gpu.free,
                    "unexplained_bytes": gpu.unexplained,
                    "processes": [_holder_as_dict(holder) for holder in gpu.holders],
                }
                for gpu in self.gpus
            ],
            "processes_on_some_gpu": [_holder_as_dict(holder) for holder in self.unplaced],
        }


def _holder_as_dict(holder: Holder) -> dict[str, Any]:
    return {
        "pid": holder.pid,
        "name": holder.name,
        "held_bytes": holder.held,
        "run": holder.run,
        "pytorch_allocated_bytes": holder.allocated,
        "pytorch_reserved_bytes": holder.reserved,
        "outside_pytorch_bytes": holder.outside,
    }
