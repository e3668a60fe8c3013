"""Train once as one program does, in a process of its own, and measure that process."""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

from cases import KINDS, Case
from machine import has_bf16

__all__ = ["FailedError", "Trained", "joined", "missing", "train"]

HERE = Path(__file__).parent


@dataclass
class Trained:
    """Holds the measurements of one kind of training, over all rounds."""

    epochs_cpu_s: list[float] = field(default_factory=list)
    epochs_wall_s: list[float] = field(default_factory=list)
    whole_cpu_s: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    best_dice: list[float] = field(default_factory=list)
    whole_wall_s: list[float] = field(default_factory=list)
    gpu_peak_mib: list[float] = field(default_factory=list)
    """Largest memory of tensors on the GPU, of all epochs; 0 on a CPU."""
    parameters: int = 0


class FailedError(Exception):
    """A training ended with an error; the text ends with that of the program."""


def train(
    case: Case, kind: str, python: str, threads: int, seed: int, folder: Path, workers: int, device: str = "cpu"
) -> Trained:
    """Train once, in a process of its own.

    Raises:
        FailedError: The program failed.
    """
    _, program, own = KINDS[kind]
    out = folder / f"{case.name}-{kind}-{threads}-{seed}".replace(" ", "_").replace(",", "")
    spec: dict[str, Any] = {
        "data": str(folder / case.name), "out": str(out), "ndim": case.ndim, "depths": case.depths,
        "encoder": case.encoder, "batch": case.batch, "epochs": case.epochs, "seed": seed, "threads": threads,
        "workers": workers, "rate": 0.004, "patch": case.patch, "patches": case.patches, "device": device, **own,
    }  # fmt: skip
    if own.get("tricks"):
        spec["amp"] = "bf16" if device != "cpu" or has_bf16() else "off"
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    log, began = folder / "log.txt", time.monotonic()
    with log.open("w") as written:
        process = subprocess.Popen(
            [python, str(HERE / program), json.dumps(spec)],
            env={**os.environ, **counts, "NO_ALBUMENTATIONS_UPDATE": "1"},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    whole_wall_s = time.monotonic() - began
    if process.returncode:
        text = log.read_text()[-3000:]
        raise FailedError(f"{case.name}: {kind} failed with exit code {process.returncode}\n{text}")
    marks = [json.loads(line) for line in (out / "clock.jsonl").read_text().splitlines()]
    assert len(marks) == case.epochs, (kind, marks)
    between = list(pairwise(marks))
    return Trained(
        [after["cpu_s"] - before["cpu_s"] for before, after in between],
        [after["wall_s"] - before["wall_s"] for before, after in between],
        [used.ru_utime + used.ru_stime],
        [used.ru_maxrss / 1024],
        [marks[-1]["dice"]],
        [max(mark["dice"] for mark in marks)],
        [whole_wall_s],
        [max(mark["gpu_peak_mib"] for mark in marks)],
        parameters_of(out),
    )


def parameters_of(out: Path) -> int:
    """Read how many weights were trained, from the loop's note or from segcli's checkpoint."""
    note = out / "parameters"
    if note.exists():
        return int(note.read_text())
    with (out / "run" / "checkpoints" / "last.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    found = {name: entry["shape"] for name, entry in header.items() if name.startswith("model/")}
    assert found, list(header)[:5]
    return sum(prod(s) for name, s in found.items() if not name.rsplit(".", 1)[-1].startswith(("running_", "num_")))


def joined(found: Trained, more: Trained) -> None:
    """Add the measurements of another round."""
    for name, values in more.__dict__.items():
        setattr(found, name, values if name == "parameters" else [*getattr(found, name), *values])


def missing(python: str, modules: list[str]) -> list[str]:
    """List the modules that an environment does not have; none of them is imported."""
    code = "import sys; from importlib.util import find_spec; print(*(m for m in sys.argv[1:] if find_spec(m) is None))"
    asked = subprocess.run([python, "-c", code, *modules], capture_output=True, text=True, check=True)
    return asked.stdout.split()
