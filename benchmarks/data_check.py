"""Time of `segcli data check` against a loop that only decodes the same files with OpenCV.

Check, a loop in as many threads, and a loop in one thread are run in turn, several times; each loop in a process of
its own, as a script has it, because the check changes how its process keeps freed memory. Printed are the ratio of
check and loop in processor time with its spread, and both ratios by the clock. Run it as
`python benchmarks/data_check.py CONFIG [CONFIG ...] [--rounds 5]`;
`--small 200 2000 20000` makes that many small images, checks them once, and prints time and memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does

import cv2
import numpy as np
import psutil

from segcli.commands.data import check_data
from segcli.config.load import load_for_check
from segcli.datasets import SPLITS
from segcli.engine.events import Silent

LOOP = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
import cv2

files, threads = json.load(sys.stdin), int(sys.argv[1])
if threads > 1:
    cv2.setNumThreads(0)  # several images are read at once

def read(path):
    cv2.imread(path, cv2.IMREAD_UNCHANGED)

for _ in range(2):
    cpu, clock = time.process_time(), time.perf_counter()
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(read, files))
    else:
        for path in files:
            read(path)
    taken = time.process_time() - cpu, time.perf_counter() - clock
print(json.dumps(taken))
"""
"""A script that only decodes."""


def files_of(config: Path, overrides: list[str]) -> list[Path]:
    """List the images and masks that a check reads."""
    layout = load_for_check(config, overrides)[0].build()
    cases = [case for split in SPLITS if layout.has(split) for case in layout.cases(split)]
    return [path for case in cases for path in (case.image, case.label, case.fov) if path is not None]


def decode(files: list[Path]) -> None:
    """Decode all files in as many threads as the check uses."""
    with ThreadPoolExecutor(min(8, psutil.cpu_count() or 1)) as pool:
        for pixels in pool.map(lambda path: cv2.imread(str(path), cv2.IMREAD_UNCHANGED), files):
            del pixels  # None for formats that OpenCV does not read


def loop_alone(files: list[Path], *, in_threads: bool) -> tuple[float, float]:
    """Time the second pass of a loop in a process without segcli, in seconds of the processor and on the clock."""
    threads = min(8, psutil.cpu_count() or 1) if in_threads else 1
    names = json.dumps([str(path) for path in files])
    command = [sys.executable, "-c", LOOP, str(threads)]
    found = subprocess.run(command, input=names, capture_output=True, text=True, check=True)
    cpu, clock = json.loads(found.stdout)
    return cpu, clock


def timed(function) -> tuple[float, float]:
    """Return processor seconds and seconds on the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - clock


def compare(config: Path, overrides: list[str], rounds: int) -> None:
    """Print the ratio of both times for a data set."""
    files = files_of(config, overrides)
    dataset, _ = load_for_check(config, overrides)
    check_data(dataset, listener=Silent())  # the first call imports and fills caches of the disk
    rows = [
        (
            timed(lambda: check_data(dataset, listener=Silent())),
            loop_alone(files, in_threads=True),
            loop_alone(files, in_threads=False),
        )
        for _ in range(rounds)
    ]
    cpu = [check[0] / threads[0] for check, threads, _ in rows]
    clock, plain = ([row[0][1] / row[which][1] for row in rows] for which in (1, 2))
    seconds = [statistics.median(row[which][0] for row in rows) for which in (0, 1)]
    print(
        f"| {config.stem} | {len(files)} | {seconds[0]:.2f} s | {seconds[1]:.2f} s | {statistics.median(cpu):.2f} "
        f"| {min(cpu):.2f} to {max(cpu):.2f} | {statistics.median(clock):.2f} "
        f"| {statistics.median(plain):.2f} ({min(plain):.2f} to {max(plain):.2f}) |"
    )


def make_small(folder: Path, count: int) -> Path:
    """Write images of 64 x 64 pixels with a mask each; return their data-set file."""
    rng = np.random.default_rng(0)
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        for kind in ("image", "label"):
            (folder / split / kind).mkdir(parents=True)
        for index in range(int(count * share)):
            mask = np.zeros((64, 64), np.uint8)
            y, x = rng.integers(0, 40, 2)
            mask[y : y + 20, x : x + 24] = 255
            image = (rng.normal(90, 20, (64, 64, 3)) + (mask[..., None] > 0) * 80).clip(0, 255).astype(np.uint8)
            cv2.imwrite(f"{folder}/{split}/image/{split}_{index}.png", image)
            cv2.imwrite(f"{folder}/{split}/label/{split}_{index}.png", mask)
    config = folder / "set.yaml"
    config.write_text(f"paths: {{root: {folder}}}\nnum_channels: 3\nnum_classes: 1\n")
    return config


def check_small(config: Path) -> None:
    """Check small images once; print the seconds and the memory as JSON. Each count has a process of its own.

    The loop that only decodes comes last, as its list of files and of tasks takes memory, too.
    """
    dataset, _ = load_for_check(config, [])
    cpu, clock = timed(lambda: check_data(dataset, listener=Silent()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    files = files_of(config, [])
    decoding, _ = timed(lambda: decode(files))
    print(json.dumps({"clock": clock, "cpu": cpu, "loop": decoding, "peak": peak}))


def small(counts: list[int]) -> None:
    """Print a table of time and memory by the number of images."""
    print("| images of 64x64 | on the clock | processor | decoding alone | ratio | memory | beyond the first row |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    first = 0.0
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            config = make_small(Path(folder), count)
            command = [sys.executable, __file__, "--check", str(config)]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        first = first or found["peak"]
        print(
            f"| {count} | {found['clock']:.1f} s | {found['cpu']:.1f} s | {found['loop']:.1f} s "
            f"| {found['cpu'] / found['loop']:.2f} | {found['peak']:.0f} MiB | {found['peak'] - first:.0f} MiB |"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", type=int, nargs="+", default=[])
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.check is not None:
        check_small(given.check)
        return
    if given.configs:
        print("| data set | files | check | decoding | ratio | spread | on the clock | to one thread, on the clock |")
        print("|---|---:|---:|---:|---:|---|---:|---|")
    for config in given.configs:
        compare(config, [], given.rounds)
    if given.small:
        small(given.small)


if __name__ == "__main__":
    main()
