"""Step time of `segcli train` against a bare PyTorch loop with the same model, batches, loss and optimizer.

Run: python benchmarks/step_time.py [--device cuda] [--amp bf16] [--compile] [--size 128] [--rounds 7]
                                    [--cudnn-benchmark] [--no-tf32]

Both loops train on the same tensors in memory, in turns and in one process, so that a noisy machine hits both alike; on
a CPU, processor time is compared, and beside the median the ratio of the fastest rounds is printed.
The bare loop is what a user writes: no metrics, no checks, the loss read every 50 steps. The trainer's loop also
counts metrics, watches for NaN and keeps its books. Freed memory is kept for both, as `segcli train` does: else the C
library gives it back after some steps of one loop and of the other, and the ratio is that of page faults, which are
counted (`faults`, a step, in all rounds but the first).
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segcli.config.load import run_from_values
from segcli.core.heap import keep_freed_memory
from segcli.core.process import command_line
from segcli.data.loader import Loaded
from segcli.data.samples import Case, Geometry
from segcli.engine.assembly import assemble
from segcli.engine.events import Silent
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training.precision.switches import set_gpu_switches
from segcli.engine.training.trainer import Trainer


def batches(count: int, size: int, batch_size: int) -> list[Loaded]:
    """Random images with random masks, as the loader gives them."""
    rng = np.random.default_rng(0)
    case = Case("bench", Path("bench.png"))
    geometry = Geometry((size, size), (size, size), (size, size))
    return [
        Loaded(
            tensors={
                "image": torch.from_numpy(rng.normal(size=(batch_size, 3, size, size)).astype(np.float32)),
                "mask": torch.from_numpy(rng.integers(0, 2, (batch_size, size, size), dtype=np.uint8)),
                "valid": torch.ones(batch_size, size, size, dtype=torch.uint8),
            },
            cases=[case] * batch_size,
            geometries=[geometry] * batch_size,
            stored_maps=[],
        )
        for _ in range(count)
    ]


class FromMemory:
    """A training loader whose batches exist already."""

    def __init__(self, loaded: list[Loaded]) -> None:
        self.loaded = loaded

    @property
    def count(self) -> int:
        """Images in an epoch, about."""
        return len(self.loaded)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.loaded)

    def images(self, index: int) -> int:
        """Images of a batch."""
        return len(self.loaded[index].cases)

    def explained(self, error: Exception) -> None:
        """Nothing can die."""

    def close(self) -> None:
        """Nothing is open."""

    def epoch(self, epoch: int, *, first_batch: int = 0) -> Any:
        """The same batches in every epoch."""
        return iter(self.loaded[first_batch:])


def bare_epoch(
    network: Any, optimizer: Any, loss: Any, loaded: list[Loaded], device: torch.device, kind: torch.dtype | None
) -> None:
    """What a user would write."""
    network.train()
    for number, batch in enumerate(loaded):
        image = batch.tensors["image"].to(device, non_blocking=True).to(memory_format=torch.channels_last)
        mask = batch.tensors["mask"].to(device, non_blocking=True)[:, None].bool()
        valid = batch.tensors["valid"].to(device, non_blocking=True)[:, None].bool()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, kind, enabled=kind is not None):
            outputs = network(image)
        value = loss(outputs, {"mask": mask, "valid": valid})["loss"]
        value.backward()
        optimizer.step()
        if number % 50 == 0:
            value.item()


def page_faults() -> int:
    """Count the pages that the system has cleared for this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def asked() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--depths", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--amp", choices=["off", "bf16"], default="off")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cudnn-benchmark", action="store_true", help="let cuDNN time its algorithms")
    parser.add_argument("--no-tf32", action="store_true", help="compute float32 on a GPU without TF32")
    parser.add_argument("--row", action="store_true", help="print one row of a Markdown table")
    return parser.parse_args()


def in_turns(
    epochs: dict[str, Callable[[], None]], rounds: int, steps: int, device: str
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Run the loops in turns, and once before; return the seconds of a step in each round, and page faults a step."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    clock = time.process_time if device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in epochs}
    faults = dict.fromkeys(epochs, 0.0)
    for number in range(rounds + 1):
        for name, epoch in sorted(epochs.items(), reverse=bool(number % 2)):  # each is first in half of the rounds
            wait()
            before, started = page_faults(), clock()
            epoch()
            wait()
            times[name].append((clock() - started) / steps)
            faults[name] += (page_faults() - before) / (rounds * steps) if number else 0.0
    return times, faults


def main() -> None:
    """Print the ratio of medians."""
    options = asked()
    with command_line():
        keep_freed_memory()
    values = {
        "name": "bench",
        "dataset": {"paths": {"root": "."}, "mean": [0.0] * 3, "std": [1.0] * 3},
        "data": {"batch_size": options.batch_size},
        "model": {"type": "unet", "depths": options.depths},
        "training": {"loss": {"bce": 0.5, "dice": 0.5}, "amp": options.amp, "compile": options.compile},
        "logging": {"tensorboard": False},
        "device": options.device,
    }
    run = run_from_values(values, source="benchmark")
    loaded = batches(options.steps, options.size, options.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        ours = assemble(run)
        set_gpu_switches(ours.device, run.training, ours.precision.name)
        if ours.device.type == "cuda":
            loaded = [batch.pin_memory() for batch in loaded]
        if options.cudnn_benchmark:
            torch.backends.cudnn.benchmark = True
        if options.no_tf32:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        trainer = Trainer(
            ours,
            RunFolder(Path(folder)),
            FromMemory(loaded),  # type: ignore[arg-type]  # has what a trainer asks of its loader
            None,
            dataset={},
            listener=Silent(),
            stop=StopSignal(),
        )
        theirs = assemble(run)
        optimizer = run.training.optimizer.build().build(theirs.network.parameters())
        network = torch.compile(theirs.network) if options.compile else theirs.network
        kind = torch.bfloat16 if options.amp == "bf16" else None

        def ours_epoch() -> None:
            trainer.progress.batch = 0
            trainer.step.totals.clear()
            trainer._train_epoch()

        def bare() -> None:
            bare_epoch(network, optimizer, theirs.loss, loaded, ours.device, kind)

        times, faults = in_turns({"bare": bare, "segcli": ours_epoch}, options.rounds, options.steps, ours.device.type)
        medians = {name: statistics.median(values[1:]) for name, values in times.items()}
        ratios = [a / b for a, b in zip(times["segcli"][1:], times["bare"][1:], strict=True)]
        fastest = min(times["segcli"][1:]) / min(times["bare"][1:])
        words = [options.amp, *(["compiled"] if options.compile else [])]
        words += ["cuDNN timed"] * options.cudnn_benchmark + ["without TF32"] * options.no_tf32
        how = ", ".join(words)
        size = f"batch {options.batch_size}, {options.size}x{options.size}"
        ratio = statistics.median(ratios)
        if options.row:
            figures = f"bare loop {medians['bare'] * 1e3:.2f} ms, segcli {medians['segcli'] * 1e3:.2f} ms: {ratio:.3f}"
            print(f"| step on {options.device}, {how}, U-Net {options.depths}, {size} | {figures} |")
            return
        print(f"{options.device}, {how}, U-Net {options.depths}, {size}")
        print(f"bare loop {medians['bare'] * 1e3:8.2f} ms per step")
        print(f"segcli    {medians['segcli'] * 1e3:8.2f} ms per step")
        print(f"ratio     {ratio:8.3f} (median of {options.rounds} pairs, {min(ratios):.3f} to {max(ratios):.3f})")
        print(f"fastest   {fastest:8.3f}")
        print(f"faults    bare loop {faults['bare']:.0f}, segcli {faults['segcli']:.0f}")


if __name__ == "__main__":
    main()
