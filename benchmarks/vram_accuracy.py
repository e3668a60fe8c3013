"""Forecast of GPU memory against what a GPU measures: every shipped network, two precisions, batches and image sizes.

Run on a machine with a GPU: python benchmarks/vram_accuracy.py
Writes the table, with date, GPU and versions, to benchmarks/vram_accuracy.md.
"""

import argparse
import datetime
import statistics
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

from segcli.config.load import run_from_values
from segcli.config.schema import Run
from segcli.core.errors import DeviceError
from segcli.core.registry import MODELS
from segcli.engine.runtime import choose_device, choose_precision
from segcli.vram.forecast import Forecaster
from segcli.vram.real import measured
from segcli.vram.results import Measured

HERE = Path(__file__).parent
BATCHES, SIZES, PRECISIONS = (2, 6), (256, 512), ("off", "bf16")


@dataclass(frozen=True)
class Row:
    """One combination."""

    name: str
    amp: str
    batch: int
    size: int
    peak: int
    reserved: int
    found: Measured

    @property
    def errors(self) -> tuple[float, float]:
        """Of what is allocated, and of what is reserved."""
        return self.peak / self.found.peak - 1.0, self.reserved / self.found.reserved - 1.0


def make(name: str, amp: str, batch: int, size: int) -> Run:
    """An experiment as users have it, without data."""
    values = {
        "name": name,
        "dataset": {"paths": {"root": "."}, "mean": [0.5] * 3, "std": [0.2] * 3, "image_size": [size, size]},
        "data": {"batch_size": batch},
        "model": {"type": name},
        "training": {"amp": amp, "loss": {"bce": 0.5, "dice": 0.5}, "metrics": ["dice", "iou"]},
        "device": "cuda",
    }
    return run_from_values(values, source="benchmark")


def rows() -> list[Row]:
    """All combinations that the GPU has room for."""
    done = []
    for name, amp, batch, size in product(MODELS.names(), PRECISIONS, BATCHES, SIZES):
        run = make(name, amp, batch, size)
        forecaster = Forecaster(run)
        forecast = forecaster.forecast()
        try:
            row = Row(name, amp, batch, size, forecast.peak, forecast.reserved, measured(run, forecaster.inputs))
        except DeviceError as error:
            print(f"{name} {amp} batch {batch} {size}: {error.message}")
            continue
        done.append(row)
        allocated, reserved = row.errors
        print(f"{name:16} {amp:5} batch {batch} {size}: allocated {allocated:+.1%}, reserved {reserved:+.1%}")
    return done


def table(done: list[Row], gpu: str) -> str:
    """Markdown."""
    errors = [abs(row.errors[0]) for row in done]
    lines = [
        "# Forecast of GPU memory against measurement",
        "",
        f"{datetime.datetime.now(datetime.UTC).date()}, {gpu}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}. Written by `python benchmarks/vram_accuracy.py`.",
        "",
        f"Allocated: median error {statistics.median(errors):.1%}, largest {max(errors):.1%}.",
        "",
        "| network | precision | batch | size | allocated, forecast MiB | measured MiB | error | reserved, error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in done:
        allocated, reserved = row.errors
        lines.append(
            f"| {row.name} | {'fp32' if row.amp == 'off' else row.amp} | {row.batch} | {row.size} | "
            f"{row.peak / 2**20:,.0f} | {row.found.peak / 2**20:,.0f} | {allocated:+.1%} | {reserved:+.1%} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "vram_accuracy.md")
    out = parser.parse_args().out
    device = choose_device("cuda")
    print(f"precision that `amp: auto` takes here: {choose_precision('auto', device).name}")
    out.write_text(table(rows(), torch.cuda.get_device_properties(device).name))
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
