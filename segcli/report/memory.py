"""GPU memory by process as tables for a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from segcli.report.cells import plural
from segcli.vram.gpus import GPU, Holder, Holders
from segcli.vram.watch import Watched

__all__ = ["holders", "size", "watched"]


def size(count: float | None) -> str:
    """Write bytes with a unit; `-` where the size is unknown.

    Example:
        >>> size(512), size(1.5 * 2**20), size(24 * 2**30), size(None)
        ('512 B', '1.5 MiB', '24.00 GiB', '-')
    """
    if count is None:
        return "-"
    for unit, digits in (("GiB", 2), ("MiB", 1), ("KiB", 1)):
        least = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}[unit]
        if abs(count) >= least:
            return f"{count / least:,.{digits}f} {unit}"
    return f"{count:.0f} B"


def holders(result: Holders) -> Iterator[Any]:
    """Show each GPU with its processes."""
    if not result.gpus:
        yield f"{result.source} lists no GPU"
    for gpu in result.gpus:
        yield _gpu(gpu, result.source)
    if result.unplaced:
        yield _table("On one of the GPUs (rocm-smi does not say which)", result.unplaced)
    if any(holder.run for gpu in result.gpus for holder in gpu.holders):
        yield "[dim]allocated and reserved: counted by PyTorch (last line of memory.csv); outside: libraries[/]"


def watched(result: Watched) -> Iterator[str]:
    """Write one line for the samples, with the peak of each GPU and its largest process at that time."""
    peaks = []
    for peak in result.peaks.values():
        text = f"GPU {peak.gpu} peak {size(peak.used)} of {size(peak.total)} after {peak.elapsed_s:.1f} s"
        if peak.largest is not None:
            run = f" of run {peak.largest.run}" if peak.largest.run else ""
            text += f" (most: {size(peak.largest.held)} in {peak.largest.name}, PID {peak.largest.pid}{run})"
        peaks.append(text)
    taken = f"{plural(result.samples, 'sample')} in {result.elapsed_s:.1f} s"
    yield escape(f"wrote {result.file}: {taken}; {'; '.join(peaks) or 'no GPU'}")


def _gpu(gpu: GPU, source: str) -> Table:
    title = f"GPU {gpu.index}: {escape(gpu.name)}, {size(gpu.used)} of {size(gpu.total)} in use ({source})"
    table = _table(title, gpu.holders)
    unknown = "unknown" if gpu.unexplained is None else size(gpu.unexplained)
    table.add_row("", "[dim]driver, display, other containers[/]", unknown, "", "", "", "")
    table.add_row("", "[dim]free[/]", size(gpu.free), "", "", "", "")
    return table


def _table(title: str, found: list[Holder]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("PID", "process", "memory", "run", "allocated", "reserved", "outside"):
        table.add_column(heading, justify="left" if heading in ("process", "run") else "right")
    for holder in found:
        sizes = (size(value) if holder.run else "" for value in (holder.allocated, holder.reserved, holder.outside))
        table.add_row(str(holder.pid), escape(holder.name), size(holder.held), escape(holder.run or ""), *sizes)
    return table
