"""Time of segcli's loader against the loaders that users would write, in processor time per image.

Run: python benchmarks/loader.py [--kinds png jpeg tiff16 hdf5 nifti slices] [--rounds 7] [--json FILE]

Without a cache, the peer is a torch `Dataset` with OpenCV and albumentations (pictures), h5py, nibabel or tifffile
(volumes), with the same crop, flip and normalisation. With `cache: memory`, it is MONAI's `CacheDataset`, which is
left out where MONAI is not installed. All read the same files in one process and without workers, in turns; the
fastest round of each counts, and the spread is that of the ratios of the rounds. Where images are cropped, four crops
of each are compared with one, without workers and with two, whose time counts, too.

With a cache, the last column is how far the peak memory of a process until the end of the second epoch lies above that
before the cache is filled, for segcli, for MONAI, and the size of the decoded images and masks. Each is measured in a
process of its own, on four times as many images, after a small epoch whose freed memory is given back to the system,
or it would hide the first MiB of the growth (GNU on Linux only).
"""

import argparse
import ctypes
import gc
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import psutil
import torch
from _loader_data import KINDS, Kind
from _loader_peers import cached, usual

from segcli.config.load import run_from_values
from segcli.core.heap import keep_freed_memory
from segcli.core.process import command_line
from segcli.engine.assembly import assemble
from segcli.engine.events import Silent

Loading = Callable[[], Iterator[Any]]
MORE = 4
"""Times as many images where memory is measured, so that it stands out of what a batch takes."""


def ours(kind: Kind, root: Path, **data: Any) -> Loading:
    """Make segcli's loader; each call reads the next epoch."""
    run = run_from_values(kind.run(root, **data), source="benchmark")
    parts = assemble(run)
    cases = parts.layout.cases("train")
    loader = parts.train_loader(cases, parts.source(cases, Silent()))
    epochs = iter(range(10**6))
    return lambda: loader.epoch(next(epochs))


def seconds(loading: Loading) -> float:
    """Return the processor time of an epoch, in this process and in its workers."""
    gc.collect()
    start = _used()
    for batch in loading():
        del batch
    return _used() - start


def _used() -> float:
    """Return the processor time of this process and of its workers so far."""
    times = [worker.cpu_times() for worker in psutil.Process().children()]
    return time.process_time() + sum(each.user + each.system for each in times)


def compared(one: Loading, other: Loading, count: int, rounds: int) -> dict[str, Any]:
    """Read epochs in turns; return milliseconds per image of both, and the ratio with its spread."""
    seconds(one), seconds(other)
    pairs = [(seconds(one), seconds(other)) for _ in range(rounds)]
    fastest = [1000 * min(column) / count for column in zip(*pairs, strict=True)]
    ratios = [first / second for first, second in pairs]
    return {
        "ours_ms": fastest[0],
        "theirs_ms": fastest[1],
        "ratio": fastest[0] / fastest[1],
        "median": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def measured(name: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Compare the loaders on one kind of data, without a cache and with one."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        kind.write(root, kind.count)
        found = compared(ours(kind, root), usual(name, kind, root), kind.count, rounds)
        yield {"data": kind.title, "cache": "none", "peer": "usual loop", **found}
        if importlib.util.find_spec("monai") is not None:
            found = compared(ours(kind, root, cache="memory"), cached(name, kind, root), kind.count, rounds)
            yield {"data": kind.title, "cache": "memory", "peer": "MONAI CacheDataset", **found, **memory(name)}
        if "patch_size" in kind.data:
            for workers in (0, 2):
                several = ours(kind, root, patches_per_image=4, num_workers=workers)
                found = compared(several, ours(kind, root, num_workers=workers), kind.count, rounds)
                peer = "4 crops an image to 1" + (f", {workers} workers" if workers else "")
                yield {"data": kind.title, "cache": "none", "peer": peer, **found}


def memory(name: str) -> dict[str, float]:
    """Return what the caches of both take, and the size of the decoded images, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        KINDS[name].write(Path(folder), MORE * KINDS[name].count)
        command = [sys.executable, __file__, "--kinds", name, "--cached-in", folder, "--cache-of"]
        return {
            f"{of}_mib": float(subprocess.run([*command, of], capture_output=True, text=True, check=True).stdout)
            for of in ("ours", "theirs", "decoded")
        }


def taken(name: str, root: Path, of: str) -> float:
    """Fill a cache, read two epochs from it, and return the MiB that the peak of this process grew by.

    Args:
        name: Kind of the data.
        root: Folder of the data.
        of: `ours`, `theirs`, or `decoded` for the size of the decoded images and masks.
    """
    kind = KINDS[name]
    if of == "decoded":
        layout = assemble(run_from_values(kind.run(root), source="benchmark")).layout
        return sum(layout.read(case).nbytes for case in layout.cases("train")) / 2**20
    with tempfile.TemporaryDirectory() as small:  # imports and what a first batch takes anyhow
        kind.write(Path(small), 4)
        made: Callable[[Path], Loading] = (
            (lambda where: ours(kind, where, cache="memory"))
            if of == "ours"
            else (lambda where: cached(name, kind, where))
        )
        seconds(made(Path(small)))
    before = begin_peak()
    loading = made(root)
    seconds(loading), seconds(loading)
    return status_mib("VmHWM") - before


def begin_peak() -> float:
    """Give freed memory back to the system, let the peak begin anew, and return the memory of this process."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status_mib("VmRSS")


def status_mib(name: str) -> float:
    """Read `VmRSS`, or the peak `VmHWM`, of this process; `getrusage` would count that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cached-in", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache-of", choices=["ours", "theirs", "decoded"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with command_line():  # as `segcli train` does; for all loaders, which are in one process
        keep_freed_memory()
    warnings.simplefilter("ignore")
    if options.cached_in is not None:
        print(taken(options.kinds[0], options.cached_in, options.cache_of))
        return
    print("| data | cache | compared with | ours, ms an image | theirs | ratio (rounds) | MiB: ours, theirs, decoded |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for name in options.kinds:
        for row in measured(name, options.rounds):
            rows.append(row)
            sizes = ", ".join(f"{row[f'{of}_mib']:.0f}" for of in ("ours", "theirs", "decoded") if f"{of}_mib" in row)
            print(
                f"| {row['data']} | {row['cache']} | {row['peer']} | {row['ours_ms']:.2f} | {row['theirs_ms']:.2f} | "
                f"{row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f}) | {sizes} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
