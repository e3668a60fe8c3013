"""Steps per second of a training, and seconds of a prediction, on 1 and 2 processes with one thread each.

    python benchmarks/processes.py [--processes 1 2] [--epochs 4] [--images 200] [--rounds 5] [--work processes]

Trains a U-Net on generated vessels through the command line. Steps are counted from the end of the first epoch on, so
that the start of the processes does not count; a prediction is timed as a whole, with its start. Efficiency is the
speed on N processes over N times that on one. A second table compares `training.reduce: exact` with `fast`, which take
turns: the time of a step over that of its neighbour, as the median of all rounds with the smallest and the largest.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import yaml

SETTINGS: dict[str, object] = {
    "data": {"batch_size": 8, "num_workers": 0, "cache": "memory"},
    "model": {"type": "unet", "depths": [16, 32, 64]},
    "logging": {"tensorboard": False, "visualization_interval": None},
    "checkpoint": {"every_minutes": 1000.0},
    "device": "cpu",
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("processes"))
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    given.work.mkdir(parents=True, exist_ok=True)
    os.chdir(given.work)
    if not Path("vessels").exists():
        segcli("data", "sample", "vessels", "vessels", "--size", "128")
    images = copies(given.images)
    rows = []
    for count in given.processes:
        shared = ["--processes", str(count)] if count > 1 else []
        speed = steps_per_s(f"on_{count}", given.epochs, shared)
        began = time.perf_counter()
        segcli("predict", str(images), "--run", "on_1", "--out", f"predicted_{count}", "--overwrite", *shared)
        rows.append((count, speed, time.perf_counter() - began))
    print("| processes | steps/s | ratio | efficiency | s for the prediction | ratio |")
    print("|---|---|---|---|---|---|")
    _, one, whole = rows[0]
    for count, speed, seconds in rows:
        ratio = speed / one
        print(f"| {count} | {speed:.2f} | {ratio:.2f} | {ratio / count:.0%} | {seconds:.1f} | {whole / seconds:.2f} |")
    overheads(given.processes, given.epochs, given.rounds)


def overheads(processes: list[int], epochs: int, rounds: int) -> None:
    """Print how much longer a step takes with `training.reduce: exact`."""
    print(
        "\n| processes | `data.slot_size` | steps/s, `fast` | steps/s, `exact` | time of a step, `exact` over `fast` |"
    )
    print("|---|---|---|---|---|")
    for count in processes:
        shared = ["--processes", str(count)] if count > 1 else []
        for size in (1, 4):
            pairs = []
            for _ in range(rounds):
                fast = steps_per_s("fast", epochs, shared)
                exact = steps_per_s("exact", epochs, [*shared, "training.reduce=exact", f"data.slot_size={size}"])
                pairs.append((fast, exact))
            ratios = [fast / exact for fast, exact in pairs]
            speeds = " | ".join(f"{statistics.median(each):.2f}" for each in zip(*pairs, strict=True))
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {count} | {size} | {speeds} | {spread} |", flush=True)


def steps_per_s(name: str, epochs: int, options: list[str]) -> float:
    """Train and read the speed from the times of the epochs."""
    values = {**SETTINGS, "name": name, "dataset": "vessels/dataset.yaml", "training": {"epochs": epochs}}
    Path(f"{name}.yaml").write_text(yaml.safe_dump(values))
    segcli("train", f"{name}.yaml", "--overwrite", *options)
    lines = Path(f"outputs/experiments/{name}/memory.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines))
    ends = {(int(row["epoch"]), row["stage"]): row for row in rows}
    seconds = steps = 0.0
    for epoch in range(2, epochs + 1):
        seconds += float(ends[epoch, "train"]["elapsed_s"]) - float(ends[epoch - 1, "val"]["elapsed_s"])
        steps += int(ends[epoch, "train"]["batch"])
    return steps / seconds


def copies(count: int) -> Path:
    """Write so many images, made of those of the sample."""
    folder = Path("images")
    folder.mkdir(exist_ok=True)
    known = [cv2.imread(str(path)) for path in sorted(Path("vessels").rglob("image*/*.png"))]
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03d}.png"), known[number % len(known)])
    return folder


def segcli(*arguments: str) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "segcli", *arguments, "--quiet"], check=True)


if __name__ == "__main__":
    main()
