"""GPU memory by process over time: a CSV file with a row for each process at each sample, and the peak of each GPU."""

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from segcli.core.errors import ConfigError
from segcli.core.files import shown, told_when_full
from segcli.core.spreadsheet import quoted
from segcli.engine.stopping import StopSignal
from segcli.vram.gpus import GPU, Holder, Holders

__all__ = ["COLUMNS", "Peak", "Watched", "Watcher"]

COLUMNS = ("time", "elapsed_s", "gpu", "pid", "process", "run", "used_mib", "allocated_mib", "reserved_mib")
WHOLE = "(whole GPU)"
"""Name in the column `process` of the row that holds the used memory of a GPU, all processes together."""


@dataclass(frozen=True)
class Peak:
    """Largest memory in use on a GPU."""

    gpu: int
    name: str
    used: int
    """Bytes in use on the whole GPU."""
    total: int
    elapsed_s: float
    """Seconds from the first sample to the one with the peak."""
    largest: Holder | None
    """Process with the most memory in that sample; None if the driver tells no sizes."""


@dataclass
class Watched:
    """Samples that were taken so far."""

    file: Path
    samples: int = 0
    elapsed_s: float = 0.0
    """Seconds from the first sample to the last."""
    peaks: dict[int, Peak] = field(default_factory=dict)
    """Peak of each GPU by its index."""

    def add(self, gpus: list[GPU]) -> None:
        """Compare the GPUs of the newest sample with the peaks so far."""
        for gpu in gpus:
            before = self.peaks.get(gpu.index)
            if before is None or gpu.used > before.used:
                sized = [holder for holder in gpu.holders if holder.held is not None]
                largest = max(sized, key=lambda holder: holder.held or 0, default=None)
                self.peaks[gpu.index] = Peak(gpu.index, gpu.name, gpu.used, gpu.total, self.elapsed_s, largest)

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain values for `--json`."""
        return {
            "file": str(self.file),
            "samples": self.samples,
            "elapsed_s": round(self.elapsed_s, 3),
            "peaks": [
                {
                    "gpu": peak.gpu,
                    "name": peak.name,
                    "used_bytes": peak.used,
                    "total_bytes": peak.total,
                    "elapsed_s": round(peak.elapsed_s, 3),
                    "largest_pid": None if peak.largest is None else peak.largest.pid,
                    "largest_process": None if peak.largest is None else peak.largest.name,
                    "largest_run": None if peak.largest is None else peak.largest.run,
                    "largest_bytes": None if peak.largest is None else peak.largest.held,
                }
                for peak in self.peaks.values()
            ],
        }


class Watcher:
    """Samples the memory of all GPUs at a fixed interval; each sample is on the disk before the next one.

    Args:
        ask: Lists the GPUs with their processes.
        out: CSV file to write, which must not exist.
        every_s: Seconds between two samples.
        for_s: Seconds from the first to the last sample; None for no end.

    Raises:
        ConfigError: The file exists.
    """

    def __init__(self, ask: Callable[[], Holders], out: Path, *, every_s: float, for_s: float | None) -> None:
        if out.exists():
            raise ConfigError(f"`{shown(out)}` exists", hint="name another file with `--out`, or remove this one")
        self.ask, self.every_s, self.for_s = ask, every_s, for_s
        self.watched = Watched(out)

    def run(self, stop: StopSignal) -> None:
        """Take samples until the end; a stop signal leaves a file of complete samples.

        Args:
            stop: Raises `Stopped`, at once except while a sample is written.

        Raises:
            DeviceError: No driver answers.
            DataError: The file cannot be written.
        """
        found = self.ask()  # before the file is made
        done, started = self.watched, time.monotonic()
        self._add(stop, [COLUMNS], mode="x")
        while True:
            done.elapsed_s = time.monotonic() - started
            self._add(stop, self._rows(found))
            done.samples += 1
            done.add(found.gpus)
            due_s = done.samples * self.every_s
            if self.for_s is not None and due_s > self.for_s + 1e-9:
                return
            time.sleep(max(started + due_s - time.monotonic(), 0.0))
            found = self.ask()

    def _add(self, stop: StopSignal, rows: Iterable[Sequence[object]], *, mode: str = "a") -> None:
        """Write rows at once; a signal that arrives meanwhile takes effect afterwards."""
        text, out = io.StringIO(), self.watched.file
        csv.writer(text, lineterminator="\n").writerows(rows)
        stop.deferred = True
        with told_when_full(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open(mode, encoding="utf-8", newline="") as stream:
                stream.write(text.getvalue())
        stop.deferred = False
        stop.raise_if_asked()

    def _rows(self, found: Holders) -> Iterator[list[object]]:
        when = [datetime.now().astimezone().isoformat(timespec="milliseconds"), f"{self.watched.elapsed_s:.3f}"]
        for gpu in found.gpus:
            yield [*when, gpu.index, "", WHOLE, "", _mib(gpu.used), "", ""]
            yield from ([*when, gpu.index, *_cells(holder)] for holder in gpu.holders)
        yield from ([*when, "", *_cells(holder)] for holder in found.unplaced)


def _cells(holder: Holder) -> list[object]:
    sizes = (holder.held, holder.allocated, holder.reserved)
    return [holder.pid, quoted(holder.name), quoted(holder.run or ""), *map(_mib, sizes)]


def _mib(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:.1f}"
