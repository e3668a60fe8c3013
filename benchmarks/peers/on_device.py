"""The comparison on a GPU: a row for each training, with the time by the clock of epochs whose work is done."""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import data
from cases import GPU_CASES, KINDS, Case, needs, tiny
from training import FailedError, Trained, missing, train

__all__ = ["rows"]

THREADS = 2
"""Threads of each training; on a GPU they only feed it."""
Row = tuple[str, str]


def rows(pythons: dict[str, str], only: list[str], *, device: str, workers: int, small: bool) -> Iterator[Row]:
    """Train each kind of each case once, segcli first, and compare the others with it.

    Args:
        pythons: Python of each environment.
        only: Names of the cases; all of them if empty.
        device: Device of all trainings.
        workers: Loader processes of every training.
        small: Train cases so small that they only show that they run.
    """
    with tempfile.TemporaryDirectory() as made:
        for case in GPU_CASES:
            if not only or case.name in only:
                yield from _of_case(tiny(case) if small else case, pythons, Path(made), device, workers)


def _of_case(case: Case, pythons: dict[str, str], folder: Path, device: str, workers: int) -> Iterator[Row]:
    steps = -(-case.counts["train"] * case.patches // case.batch)
    ours: Trained | None = None
    for kind in case.who:
        what = f"whole training, {case.title}, {steps} steps of {case.batch} an epoch: {_title(kind)}"
        python = pythons[KINDS[kind][0]]
        if lacks := missing(python, needs(case, kind)):
            yield what, f"not measured: not installed: {', '.join(lacks)}"
            continue
        if not (folder / case.name).exists():
            (data.pictures if case.ndim == 2 else data.volumes)(folder / case.name, case.side, case.counts)
        try:
            found = train(case, kind, python, THREADS, 0, folder, workers, device)
        except FailedError as error:
            yield what, f"**failed**: {str(error).splitlines()[-1][:160]}"
            continue
        if kind == "segcli":
            ours = found
        yield what, told(found, ours, device)


def told(found: Trained, ours: Trained | None, device: str) -> str:
    """Describe a training beside that of segcli."""
    own = statistics.median(found.epochs_wall_s)
    spread = f"{min(found.epochs_wall_s):.2f} to {max(found.epochs_wall_s):.2f}"
    text = f"an epoch {own:.2f} s by the clock ({spread}), whole process {found.whole_wall_s[0]:.1f} s"
    if ours is not None and found is not ours:
        if found.parameters != ours.parameters:
            text += f", **another network**: {found.parameters:,} parameters, not {ours.parameters:,}"
        ratio = own / statistics.median(ours.epochs_wall_s)
        text += f": {ratio:.2f} and {found.whole_wall_s[0] / ours.whole_wall_s[0]:.2f} x segcli's"
    gpu = f"peak {found.gpu_peak_mib[0]:,.0f} MiB of the GPU, " if device != "cpu" else "peak "
    return f"{text}; {gpu}{found.peak_mib[0]:,.0f} MiB of the process; Dice {found.dice[0]:.3f}"


def _title(kind: str) -> str:
    return {
        "segcli": "segcli, `amp: true`",
        "segcli fp32": "segcli, float32 (TF32)",
        "bare": "bare PyTorch, float32",
        "bare, same tricks": "bare PyTorch, bf16, channels last",
        "SMP": "SMP in the usual loop, float32",
        "MONAI": "MONAI in the usual loop, float32",
    }[kind]
