"""Training steps of segcli under PyTorch's profiler, with its own loader: parts `copies` and `trace` of `gpu_suite.sh`.

Run: python benchmarks/_gpu_steps.py copies | trace

The variable DEVICE names the device, TRACE the file for the trace (benchmarks/gpu_trace.json.gz). The trace opens in
https://ui.perfetto.dev. On a CPU, operators stand in for kernels, to show that it runs.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _gpu_parts import DEVICE, ON_GPU, Row, small, wait
from _gpu_trace import WORK, Event, allocations, busy_us, copies, heaviest, read, steps_of, waits, within
from step_time import FromMemory
from torch.profiler import ProfilerActivity, profile, record_function

from segcli.config.load import run_from_values
from segcli.engine.events import Silent
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training.precision.switches import set_gpu_switches
from segcli.engine.training.session import open_session
from segcli.engine.training.trainer import Trainer

sys.path.append(str(Path(__file__).parent / "peers"))
from data import pictures

SIDE, BATCH, STEPS = (256, 8, 10) if ON_GPU else (32, 2, 3)
HEAVIEST = 8
KINDS = WORK if ON_GPU else ("cpu_op",)
WHOLE, EPOCH, TAKE, UPDATE = "suite whole", "suite epoch", "suite take", "suite update"
"""Spans in the trace; the whole one ends when the GPU has done the work of its epoch."""


def opened(folder: Path) -> Trainer:
    """Open a training on generated pictures as `segcli train` does, and mark its steps for the profiler."""
    pictures(folder / "data", SIDE, {"train": BATCH * STEPS, "val": 2})
    values = {
        "name": "suite",
        "dataset": {"paths": {"root": str(folder / "data")}, "num_channels": 3, "mean": [0.3] * 3, "std": [0.2] * 3},
        "data": {"batch_size": BATCH},
        "model": small(),
        "training": {
            "loss": {"bce": 0.5, "dice": 0.5},
            "metrics": ["dice"],
            "epochs": 100,
            "amp": "auto" if ON_GPU else "off",
        },
        "output": {"dir": str(folder / "runs")},
        "device": DEVICE,
    }
    run = run_from_values(values, source="benchmark")
    run_folder = folder / "runs" / "suite"
    run_folder.mkdir(parents=True)
    trainer = open_session(run, RunFolder(run_folder), Silent(), StopSignal())
    set_gpu_switches(trainer.parts.device, run.training, trainer.parts.precision.name)
    trainer.step.take = marked(trainer.step.take, TAKE)  # type: ignore[method-assign]  # of this step only
    trainer.step.update = marked(trainer.step.update, UPDATE)  # type: ignore[method-assign]  # of this step only
    return trainer


def marked(call: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Mark each call of a function in the trace."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        with record_function(name):
            return call(*args, **kwargs)

    return inner


def train_epoch(trainer: Trainer) -> float:
    """Train the first epoch again, and return its time by the clock."""
    trainer.progress.batch = 0
    trainer.step.totals.clear()
    wait()
    began = time.perf_counter()
    with record_function(WHOLE):
        with record_function(EPOCH):
            trainer._train_epoch()
        wait()
    return time.perf_counter() - began


def traced(trainer: Trainer, path: Path) -> list[Event]:
    """Train two epochs with the profiler, whose first start takes long, and write the trace of the second."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if ON_GPU else [])]
    for _ in range(2):
        with profile(activities=activities) as found:
            train_epoch(trainer)
    found.export_chrome_trace(str(path))
    return read(path)


def listed(counts: Counter[str]) -> str:
    """List calls with their numbers."""
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "none"


def copies_and_waits(folder: Path) -> Iterator[Row]:
    """Tell of the copies and the waits of a training with its loader."""
    trainer = opened(folder)
    train_epoch(trainer)
    batches = list(trainer.train.epoch(0))
    tensors = [tensor for batch in batches for tensor in batch.tensors.values()]
    pinned = sum(tensor.is_pinned() for tensor in tensors)
    yield "tensors of the loader's batches in pinned memory", f"{pinned} of {len(tensors)}"
    events = traced(trainer, folder / "trace.json.gz")
    steps = steps_of(events, TAKE) + steps_of(events, UPDATE)
    epoch = steps_of(events, EPOCH)
    over = f"{len(steps) // 2} training steps of batch {BATCH}, {SIDE}x{SIDE}"
    yield f"copies asked for in {over}, as traced", listed(copies(events, steps))
    in_steps = waits(events, steps)
    yield f"calls that wait for the GPU in {over}, as traced", listed(in_steps)
    yield "calls that wait for the GPU in the rest of that epoch", listed(waits(events, epoch) - in_steps)
    yield "calls that ask the driver for memory in that epoch", listed(allocations(events, epoch))


def kernels(folder: Path) -> Iterator[Row]:
    """Tell of idle time and of the heaviest kernels, with the loader and with batches that are there already."""
    path = Path(os.environ.get("TRACE", "benchmarks/gpu_trace.json.gz"))
    trainer = opened(folder)
    words = f"U-Net {small()['depths']}, {trainer.parts.precision.name}, batch {BATCH}, {SIDE}x{SIDE}"
    yield f"GPU idle in training steps, {words}, with the loader", idle(trainer, folder / "trace.json.gz")[0]
    trainer.train = FromMemory(list(trainer.train.epoch(0)))  # type: ignore[assignment]  # has what a trainer asks
    text, work = idle(trainer, path)
    yield f"GPU idle in training steps, {words}, batches in pinned memory", text
    total = sum(event["dur"] for event in work)
    for place, (name, spent, number) in enumerate(heaviest(work, HEAVIEST), 1):
        share = (
            f"{spent / STEPS / 1e3:.3f} ms a step, {spent / total:.1%} of the work, {number / STEPS:.1f} calls a step"
        )
        yield f"heaviest work of the GPU in these steps, {place}", f"{share}: `{name[:120]}`"
    yield "trace of these steps, for https://ui.perfetto.dev", f"`{path}`"


def idle(trainer: Trainer, path: Path) -> tuple[str, list[Event]]:
    """Train, and describe the share of time in which the GPU does nothing; also return the work of the trace.

    The profiler makes the program slower, but not the kernels; so the epoch is timed without it, too.
    """
    train_epoch(trainer)
    wall_us = min(train_epoch(trainer) for _ in range(3)) * 1e6
    events = traced(trainer, path)
    work = within(events, steps_of(events, WHOLE), KINDS)
    span, covered, longest = busy_us(work)
    text = (
        f"{1 - covered / max(span, 1.0):.1%} between the first and the last kernel with the profiler, longest gap "
        f"{longest / 1e3:.2f} ms; {covered / STEPS / 1e3:.2f} ms of work a step, which without the profiler takes "
        f"{wall_us / STEPS / 1e3:.2f} ms: {max(1 - covered / wall_us, 0.0):.1%} idle"
    )
    return text, work


def main() -> None:
    """Print the rows of a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["copies", "trace"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what, result in {"copies": copies_and_waits, "trace": kernels}[chosen.part](Path(folder)):
            print(f"| {what} | {result.replace('|', '/')} |", flush=True)


if __name__ == "__main__":
    main()
