"""Real run of the forecast step: measured on a GPU, or traced on any device."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from torch.profiler import ProfilerActivity, profile, tensorboard_trace_handler

from segcli.config.schema import Run
from segcli.core.errors import DeviceError
from segcli.engine.assembly import Assembly, assemble
from segcli.engine.inference.evaluator import evaluate
from segcli.engine.runtime import choose_device, out_of_memory, random_state, restore_random_state
from segcli.engine.training.stepping.step import TrainingStep
from segcli.vram.inputs import Inputs
from segcli.vram.results import Measured, Traced

__all__ = ["measured", "traced"]

STEPS = 2
SNAPSHOT = "memory_snapshot.pickle"
"""File name of PyTorch's memory snapshot, for https://pytorch.org/memory_viz."""


@contextmanager
def _training_step(run: Run) -> Iterator[TrainingStep]:
    """Make the training step of the run without its data; the state of the random generators is restored."""
    device = choose_device(run.device)
    before = random_state(device)
    try:
        step = TrainingStep(assemble(run))
        step.parts.network.epoch_begins(run.training.epochs - 1)  # as the forecast: the fewest layers are frozen
        yield step
    except (RuntimeError, MemoryError) as error:
        raise out_of_memory(error) or error from error
    finally:
        restore_random_state(before, device)


def _take(step: TrainingStep, number: int, inputs: Inputs) -> None:
    group = min(step.group, 2)
    for _ in range(group):
        loaded = inputs.training_batch(step.parts.run, _multiple(step.parts))
        step.take(loaded, share=1.0 / group, place=f"step {number + 1}")
    step.update(step.stepper.base_lr, number)


def _multiple(parts: Assembly) -> int:
    return parts.run.data.preprocessing.pad_to_multiple or parts.network.stride


def measured(run: Run, inputs: Inputs) -> Measured:
    """Measure the GPU memory of the steps and the validation that the forecast simulates.

    Raises:
        DeviceError: There is no GPU, or it has not enough memory.
    """
    device = choose_device(run.device)
    if device.type != "cuda":
        raise DeviceError(f"there is nothing to measure on `{device}`", hint="`--trace` works without a GPU")
    torch.cuda.empty_cache()
    free_before, _ = torch.cuda.mem_get_info(device)
    torch.cuda.reset_peak_memory_stats(device)
    with _training_step(run) as step:
        for number in range(STEPS):
            _take(step, number, inputs)
        evaluate(
            step.parts,
            step.stepper.best_network,
            [inputs.validation_batch(run, _multiple(step.parts))],
            field_of=lambda _: None,
        )
        step.guard.settle()
        free_after, _ = torch.cuda.mem_get_info(device)
        return Measured(
            torch.cuda.max_memory_allocated(device),
            torch.cuda.max_memory_reserved(device),
            max(free_before - free_after, 0),
            torch.cuda.get_device_properties(device).name,
        )


def traced(run: Run, inputs: Inputs, folder: Path) -> Traced:
    """Trace one training step after a warm-up step; on a GPU also write a memory snapshot.

    Raises:
        DeviceError: There is not enough memory.
    """
    device = choose_device(run.device)
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    folder.mkdir(parents=True, exist_ok=True)
    with _training_step(run) as step:
        _take(step, 0, inputs)
        if on_gpu:
            torch.cuda.memory._record_memory_history()
        started = time.monotonic()
        with profile(
            activities=activities,
            profile_memory=True,
            record_shapes=True,
            on_trace_ready=tensorboard_trace_handler(str(folder)),
        ):
            _take(step, 1, inputs)
        elapsed_s = time.monotonic() - started
        peak = psutil.Process().memory_info().rss
        if on_gpu:
            torch.cuda.memory._dump_snapshot(str(folder / SNAPSHOT))  # type: ignore[no-untyped-call]
            torch.cuda.memory._record_memory_history(enabled=None)
            peak = torch.cuda.max_memory_allocated(device)
    files = sorted(path for path in folder.iterdir() if path.name.endswith(".pt.trace.json") or path.name == SNAPSHOT)
    return Traced(str(device), files, elapsed_s, peak)
