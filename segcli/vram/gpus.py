"""GPUs of this machine and who holds their memory."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["GPU", "Holder", "Holders"]


@dataclass(frozen=True)
class Holder:
    """One process on a GPU."""

    pid: int
    name: str
    held: int | None
    """Bytes; None where the driver does not tell, as in containers and on Windows."""
    run: str | None = None
    """The run of ours that it trains."""
    allocated: int | None = None
    """Bytes in tensors, as the run last noted in its `memory.csv`."""
    reserved: int | None = None
    """Bytes that PyTorch's allocator holds, tensors included, from the same line."""

    @property
    def outside(self) -> int | None:
        """Bytes that PyTorch's allocator does not know of: context, kernels, libraries."""
        return None if self.held is None or self.reserved is None else max(self.held - self.reserved, 0)


@dataclass(frozen=True)
class GPU:
    """One GPU, as its driver sees it."""

    index: int
    name: str
    total: int
    used: int
    holders: list[Holder]

    @property
    def free(self) -> int:
        """Bytes."""
        return self.total - self.used

    @property
    def unexplained(self) -> int | None:
        """Bytes in use that no listed process holds: the driver's own, a display, processes in other containers."""
        held = [holder.held for holder in self.holders]
        return None if None in held else max(self.used - sum(size or 0 for size in held), 0)


@dataclass(frozen=True)
class Holders:
    """What the drivers told."""

    source: str
    """Who was asked."""
    gpus: list[GPU]
    unplaced: list[Holder] = field(default_factory=list)
    """Processes of which the driver does not tell the GPU; `rocm-smi` with several GPUs."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
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
