"""The machine that a plan is made for: its device, memory and speed."""

import time
from dataclasses import dataclass

import psutil
import torch
from torch import nn

from segcli.core.platform import usable_processors
from segcli.engine.runtime import choose_precision

__all__ = ["Machine", "this_machine"]

GIB = 2**30
TRIES = 4
SIZE = (4, 24, 96, 96)
"""Shape of the batch that is timed: small, so that it takes a few hundredths of a second."""
GPU_GFLOPS = 15_000.0
"""Assumed speed of a GPU that is not here; a training that is given minutes is timed on the machine itself."""


@dataclass(frozen=True)
class Machine:
    """Describes what a training may use."""

    is_gpu: bool
    memory_gib: float
    """Memory of the GPU, or of the computer if there is no GPU."""
    cores: int
    gflops: float
    """Billions of operations that a training does in a second with convolutions."""
    ram_gib: float = 8.0

    @property
    def words(self) -> str:
        """Describe the machine in a few words."""
        if self.is_gpu:
            return f"a GPU of {self.memory_gib:.{0 if self.memory_gib >= 1 else 1}f} GiB"
        return f"{self.cores} CPU core{'s' * (self.cores > 1)}"


def this_machine(vram: int | None = None) -> Machine:
    """Describe this machine, or one with a GPU of `vram` bytes in its place."""
    ram_gib = psutil.virtual_memory().total / GIB
    cores = usable_processors()
    if vram is not None:
        return Machine(True, vram / GIB, cores, GPU_GFLOPS, ram_gib)
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        return Machine(True, total / GIB, cores, _speed(torch.device("cuda")), ram_gib)
    return Machine(False, ram_gib, cores, _speed(torch.device("cpu")), ram_gib)


def _speed(device: torch.device) -> float:
    """Time the convolutions of a small network, forward and backward."""
    count, channels, *size = SIZE if device.type == "cpu" else (16, 32, 256, 256)
    with torch.random.fork_rng():
        layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        ).to(device)
        image = torch.rand(count, channels, *size, device=device, requires_grad=True)
    best, precision = float("inf"), choose_precision(True, device)
    for _ in range(TRIES):
        began = time.perf_counter()
        with precision.autocast():
            loss = layers(image).float().sum()
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 3 * 2 * 2 * 9 * channels * channels * image.numel() / channels / best / 1e9
