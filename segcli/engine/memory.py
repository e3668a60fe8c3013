"""Memory use of a run's device, for the progress line, for `memory.csv` in the run folder, and for trackers."""

import csv
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from segcli.core.files import told_when_full, write_text

__all__ = ["COLUMNS", "Memory", "MemoryLog", "memory_of"]

EVERY_S = 10.0
"""Seconds between two lines in an epoch; the end of the epoch always gets a line."""
COLUMNS = "elapsed_s,epoch,batch,stage,allocated_mib,reserved_mib,peak_mib,free_mib,total_mib,process_mib"

FIGURES = ("allocated_mib", "reserved_mib", "peak_mib", "process_mib")
"""Columns that trackers get, as `memory/allocated_mib`."""


@dataclass(frozen=True)
class Memory:
    """Bytes in use at one moment."""

    device_type: str
    allocated: int
    """Bytes in tensors; on the CPU the memory of the process."""
    reserved: int
    """Bytes reserved by PyTorch's allocator, including tensors; on the CPU the memory of the process."""
    peak: int
    """Peak of allocated bytes since the epoch began; on the CPU the current memory of the process."""
    free: int
    """Free bytes of the whole device, with all processes counted."""
    total: int
    process: int = 0
    """Bytes of the training process in the machine's memory."""

    def __str__(self) -> str:
        free = f"{self.free / 2**30:.1f} of {self.total / 2**30:.1f} GiB free"
        if self.device_type == "cpu":
            return f"process {self.allocated / 2**30:.2f} GiB, {free}"
        return f"allocated {self.allocated / 2**30:.2f}, reserved {self.reserved / 2**30:.2f}, {free}"


def memory_of(device: torch.device) -> Memory:
    """Measure the memory of the device and of the process now."""
    held = psutil.Process().memory_info().rss
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(
            "cuda",
            torch.cuda.memory_allocated(device),
            torch.cuda.memory_reserved(device),
            torch.cuda.max_memory_allocated(device),
            free,
            total,
            held,
        )
    if device.type == "mps":
        total, reserved = torch.mps.recommended_max_memory(), torch.mps.driver_allocated_memory()
        allocated = torch.mps.current_allocated_memory()
        return Memory("mps", allocated, reserved, allocated, max(total - reserved, 0), total, held)
    machine = psutil.virtual_memory()
    return Memory("cpu", held, held, held, machine.available, machine.total, held)


class MemoryLog:
    """Writes `memory.csv`: a line every few seconds, and one at the end of each epoch's training and validation.

    A resumed run appends to the same file, after the lines up to the place where it goes on.

    Args:
        path: File to write.
        device: Device to measure.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path = path
        self.device = device
        self.written = time.monotonic()
        self.by_epoch: dict[int, dict[str, float]] = {}
        """Figures for trackers by epoch: the largest values of the lines of each epoch, in MiB."""

    def rewind(self, *, epoch: int, batch: int) -> None:
        """Remove the lines that a run writes again when it continues after `batch` of `epoch`, and unfinished lines.

        Args:
            epoch: Epoch that the run is in, counted from 1.
            batch: Number of batches of this epoch that are done.
        """
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        earlier = lines[:1] == [f"{COLUMNS.rpartition(',')[0]}\n"]  # an earlier version had no last column
        rows = [f"{line[:-1]},\n" if earlier and line.endswith("\n") else line for line in lines[1:]]
        kept = [line for line in rows if _is_before(line, (epoch, batch))]
        whole = [f"{COLUMNS}\n", *kept]
        if whole != lines:
            write_text(self.path, "".join(whole))
        for row in csv.DictReader([COLUMNS, *kept]):
            self._remember(int(row["epoch"]), {name: float(row[name]) for name in FIGURES if row[name]})

    def epoch_begins(self) -> None:
        """Reset the peak at the start of an epoch."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def note(self, memory: Memory, **place: Any) -> None:
        """Write a line within an epoch, if the last line is old enough."""
        if time.monotonic() - self.written >= EVERY_S:
            self._write(memory, **place)

    def close_stage(self, **place: Any) -> None:
        """Write a line at the end of the training or validation of an epoch."""
        self._write(memory_of(self.device), **place)

    def _write(self, memory: Memory, *, elapsed_s: float, epoch: int, batch: int, stage: str) -> None:
        self.written = time.monotonic()
        sizes = (memory.allocated, memory.reserved, memory.peak, memory.free, memory.total, memory.process)
        figures = (memory.allocated, memory.reserved, memory.peak, memory.process)
        self._remember(epoch, {name: size / 2**20 for name, size in zip(FIGURES, figures, strict=True)})
        line = f"{elapsed_s:.1f},{epoch},{batch},{stage}," + ",".join(f"{size / 2**20:.1f}" for size in sizes)
        with told_when_full(self.path):
            size = self.path.stat().st_size if self.path.exists() else 0
            try:
                with self.path.open("a", encoding="utf-8") as stream:
                    stream.write(f"{line}\n" if size else f"{COLUMNS}\n{line}\n")
            except OSError:
                self._undo(size)
                raise

    def _undo(self, size: int) -> None:
        """Remove what of a line was written before the disk was full."""
        with suppress(OSError):
            if size:
                os.truncate(self.path, size)
            else:
                self.path.unlink(missing_ok=True)

    def _remember(self, epoch: int, figures: dict[str, float]) -> None:
        """Keep the largest figures of an epoch, as `memory.csv` rounds them: a resumed run knows no others."""
        known = self.by_epoch.setdefault(epoch, {})
        for name, value in figures.items():
            known[name] = max(known.get(name, 0.0), round(value, 1))


def _is_before(line: str, place: tuple[int, int]) -> bool:
    """Tell if a whole line of `memory.csv` lies before a place, given as epoch and batch."""
    cells = line.split(",")
    if len(cells) != len(COLUMNS.split(",")) or not line.endswith("\n"):
        return False
    return cells[1].isdigit() and cells[2].isdigit() and (int(cells[1]), int(cells[2])) < place
