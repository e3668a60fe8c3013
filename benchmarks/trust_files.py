"""Damaged configs, data files, checkpoints and exported files: how many end in anything but an answer or a sentence.

    python benchmarks/trust_files.py --configs 20000 --files 20000 --checkpoints 600 --exports 150 --seed 1

Needs no data: it makes small files, trains a run for one epoch, and changes bytes at random. A fault is
whatever is raised and is no error in words, more than 10 s of the processor, more than 2 GiB beyond the memory of the
program, and a checkpoint or a network that is read with another content. Each batch is read in its own process.
"""

import argparse
import json
import os
import pickle
import random
import resource
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml

from segcli.cli.main import run
from segcli.config.load import load_run
from segcli.core.errors import SegcliError
from segcli.data.images import read_image, read_labels, read_voxels
from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.export.portable import open_portable
from segcli.files import create, open_picture
from segcli.nn.state_dict import read_tensors

LONGEST_S, MOST_BYTES, BATCH = 10.0, 2**31, 25
NASTY = [
    "",
    "null",
    "[]",
    "{}",
    "-1",
    "1e400",
    ".nan",
    "1" * 5000,
    "!!int x",
    "&a [*a]",
    "[" * 2000,
    "a" * 100_000,
    "../../x",
    "\x1b[31m",
    "{1: 2}",
    "{null: 2}",
    "[1, 2, 3]",
    "[0, 0]",
    "cuda:9",
    "(a+)+$",
    "2001-01-01",
    "{type: [a]}",
]
NUMBERS = [b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", struct.pack("<I", 10**5), struct.pack(">I", 10**5), b"\xff" * 8]
Case = tuple[str, Callable[[], bytes], Callable[[Path], object]]
"""Name of the file, its damaged content, and the call that reads it."""


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Change, cut, insert or remove bytes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(6)
        if kind <= 1 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at : at + 4] = rng.choice(NUMBERS)
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at : at + rng.randrange(1, 20)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
    return bytes(data)


def damaged_text(rng: random.Random, text: str) -> bytes:
    """Replace values of a config by values that cannot be."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        key, colon, value = lines[at].partition(":")
        lines[at] = rng.choice(
            [
                f"{key}: {rng.choice(NASTY)}",
                lines[at][: rng.randrange(len(lines[at]) + 1)],
                f"{key}{colon}{value}{rng.choice(NASTY)}",
                f" {lines[at]}",
            ]
        )
        text = "\n".join(lines)
    return text.encode("utf-8", "replace")


def samples(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    """Make a small file of every format, each with the call that reads it."""
    import h5py
    from PIL import Image

    rng, found = np.random.default_rng(0), {}

    def reader(ndim: int) -> Callable[[Path], object]:
        def read(path: Path) -> object:
            whole = (read_image, read_labels)[path.stat().st_size % 2] if ndim == 2 else read_voxels
            with open_picture(path, ndim) as picture:
                picture.read(tuple(slice(0, min(length, 4)) for length in picture.size))
            return whole(path)

        return read

    for name, size in (
        ("a.tif", (40, 30)),
        ("a.npy", (40, 30)),
        ("b.tif", (6, 12, 9)),
        ("b.npy", (6, 12, 9)),
        ("b.nii", (6, 12, 9)),
        ("b.nii.gz", (6, 12, 9)),
    ):
        voxels = rng.integers(0, 255, size).astype(np.uint8)
        with create(folder / name, size, np.uint8) as add:
            add(voxels)
        found[name] = (folder / name).read_bytes(), reader(len(size))
    for ending in ("png", "jpg", "bmp", "gif"):
        for kind, shape in (("grey", (24, 20)), ("rgb", (24, 20, 3))):
            path = folder / f"{kind}.{ending}"
            Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(path)
            found[path.name] = path.read_bytes(), reader(2)
    with h5py.File(folder / "c.h5", "w") as file:
        file.create_dataset("images", data=rng.random((2, 6, 5, 4), np.float32), compression="gzip")

    def first_case(path: Path) -> object:
        from segcli.files.hdf5 import HDF5

        HDF5.members(path)
        with HDF5.open(path, 3, 0) as volume:
            return volume.read()

    found["c.h5"] = (folder / "c.h5").read_bytes(), first_case
    return found


def judged(case: Case, folder: Path) -> tuple[str, str, float]:
    """Read one damaged file; return the verdict, the place of a fault, and the seconds."""
    name, make, read = case
    path = folder / name
    path.write_bytes(make())
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        read(path)
        verdict, place = "read", ""
    except SegcliError:
        verdict, place = "refused", ""
    except BaseException as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/segcli/" in frame.filename]
        verdict, place = (
            "FAULT",
            f"{type(error).__name__} in {Path(frames[-1].filename).name if frames else '?'}: {str(error)[:80]}",
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return verdict, place, time.process_time() - begun


def batch(cases: list[Case], folder: Path) -> tuple[list[tuple[str, str, float]], float]:
    """Judge cases in a process with bounds; return the verdicts and its peak of memory in MiB."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, resource.RLIM_INFINITY))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(write, "wb") as stream:
            pickle.dump([judged(case, folder) for case in cases], stream)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        content = stream.read()
    _, status, usage = os.wait4(child, 0)
    if status or not content:
        return [("FAULT", f"the process died ({status})", 0.0)], usage.ru_maxrss / 1024
    return pickle.loads(content), usage.ru_maxrss / 1024


def tried(what: str, count: int, make: Callable[[], Case], folder: Path) -> int:
    """Try cases, print their row and the kinds of their faults; return the number of faults."""
    verdicts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    longest = most = 0.0
    for start in range(0, count, BATCH):
        found, peak = batch([make() for _ in range(min(BATCH, count - start))], folder)
        most = max(most, peak)
        for verdict, place, seconds in found:
            verdicts[verdict] += 1
            longest = max(longest, seconds)
            faults.update([place] if place else [])
    numbers = [count, *(verdicts[word] for word in ("refused", "read", "FAULT"))]
    cells = [what, *(f"{number:,}" for number in numbers), f"{longest:.1f}", f"{most:,.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)
    for place, number in faults.most_common():
        print(f"    {number} times: {place}", flush=True)
    return verdicts["FAULT"]


class Other(Exception):  # noqa: N818 - a fault of the program under test
    """A file was read with another content."""


def main() -> None:
    """Make the files, try them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("configs", 2000), ("files", 2000), ("checkpoints", 600), ("exports", 150), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=count)
    counts, rng = parser.parse_args(), random.Random()
    rng.seed(counts.seed)
    signal.signal(signal.SIGPROF, lambda *_: (_ for _ in ()).throw(TimeoutError(f"more than {LONGEST_S:g} s")))
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        run(["data", "sample", "vessels", "vessels", "--size", "64"])
        config = {
            "name": "base",
            "dataset": "vessels/dataset.yaml",
            "data": {"batch_size": 2, "num_workers": 0, "patch_size": [32, 32], "limit_batches": 1},
            "model": {"type": "unet", "depths": [2, 4]},
            "training": {"epochs": 1, "loss": {"bce": 1.0, "dice": {"weight": 2.0}}, "metrics": ["dice"]},
            "logging": {"tensorboard": False, "visualization_interval": None},
            "inference": {"tile": [64, 64], "overlap": 0.25},
            "seed": 1,
            "device": "cpu",
        }
        Path("base.yaml").write_text(yaml.safe_dump(config))
        if run(["train", "base.yaml"]) or run(["export", "base"]):
            raise SystemExit("the run could not be made")
        last, network = (
            Path("outputs/experiments/base/checkpoints/last.safetensors"),
            Path("outputs/exports/base/base.onnx"),
        )
        right, files, text = read_checkpoint(last), samples(folder), Path("base.yaml").read_text()

        def same_checkpoint(path: Path) -> None:
            found = read_checkpoint(path) if rng.random() < 0.5 else None
            tensors = read_tensors(path, hint="") if found is None else found.tensors
            whole = tensors.keys() == right.tensors.keys() and all(
                torch.equal(tensors[key], right.tensors[key]) for key in tensors
            )
            if not whole or (found is not None and json.dumps(found.header) != json.dumps(right.header)):
                raise Other("another content")

        def same_network(path: Path) -> None:
            open_portable(path)
            if path.read_bytes() != network.read_bytes():
                raise Other("another content")

        def one_file() -> Case:
            name = rng.choice(list(files))
            content = damaged(rng, files[name][0])
            return name, lambda: content, files[name][1]

        def one_of(name: str, content: bytes, read: Callable[[Path], object]) -> Case:
            return name, lambda: content, read

        print(
            "| what | tried | refused in words | read | faults | longest s | most MiB |\n|---|---|---|---|---|---|---|"
        )
        faults = tried(
            "configs",
            counts.configs,
            lambda: one_of("m.yaml", damaged_text(rng, text), lambda path: load_run(path, [])),
            folder,
        )
        faults += tried("data files", counts.files, one_file, folder)
        faults += tried(
            "checkpoints",
            counts.checkpoints,
            lambda: one_of("m.safetensors", damaged(rng, last.read_bytes()), same_checkpoint),
            folder,
        )
        faults += tried(
            "exported files",
            counts.exports,
            lambda: one_of("m.onnx", damaged(rng, network.read_bytes()), same_network),
            folder,
        )
        os.chdir("/")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
