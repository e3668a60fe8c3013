"""Memory of reading an HDF5 file of several gigabytes: of the process and of each loader worker, over two epochs.

Run: python benchmarks/hdf5_memory.py [FOLDER] [--gigabytes 4] [--workers 2] [--epochs 2] [--train]

Makes the file where it is not there yet (volumes of 64^3 voxels in float32 with four masks each, not compressed), and
reads every case in random order as a training does, with crops of 32^3. `--train` takes a step of a small U-Net on each
batch besides. Memory is that of the process and its workers together, pages that they share counted once (PSS), and
what PyTorch and the libraries take before the first batch is told apart. The page cache, which the kernel gives back
when it is wanted, belongs to no process.
"""

import argparse
import json
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import torch
import yaml

from segcli.config.load import load_run
from segcli.engine.assembly import assemble
from segcli.engine.events import Silent
from segcli.engine.training.stepping.stepper import Stepper

SIZE, STRUCTURES = 64, 4


def write(folder: Path, gigabytes: float) -> None:
    """A data set whose training file has so many gigabytes."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"structure_{number}" for number in range(STRUCTURES)]
    about = {"structure_names": names, "num_structures": STRUCTURES, "image_size": [SIZE] * 3}
    (folder / "metadata.json").write_text(json.dumps(about))
    rng = np.random.default_rng(0)
    with h5py.File(folder / "train.h5", "w") as file:
        count = round(gigabytes * 1e9 / (SIZE**3 * (4 + STRUCTURES)))
        images = file.create_dataset("images", (count, *[SIZE] * 3), np.float32)
        masks = file.create_dataset("masks", (count, STRUCTURES, *[SIZE] * 3), np.uint8)
        flags = np.ones((count, STRUCTURES), np.uint8)
        for index in range(count):
            flags[index, index % STRUCTURES] = 0
            mask = np.zeros((STRUCTURES, *[SIZE] * 3), np.uint8)
            mask[flags[index] > 0, 8:40, 8:40, 8:40] = 1
            images[index] = rng.random((SIZE,) * 3, dtype=np.float32) + mask.sum(0)
            masks[index] = mask
        file["presence_labels"] = flags
        file["scenarios"] = ["one missing"] * count


def together_mib(process: psutil.Process) -> float:
    """Memory of a process and its children, shared pages counted once."""
    return sum(one.memory_full_info().pss for one in (process, *process.children())) / 2**20


def main() -> None:
    """Print memory while the file is read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("outputs/benchmarks/hdf5_memory"))
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    if not (options.folder / "train.h5").exists():
        write(options.folder, options.gigabytes)
    config = options.folder / "run.yaml"
    values = {
        "name": "memory",
        "dataset": {"format": "hdf5_volumes", "paths": {"root": str(options.folder.absolute())}},
        "data": {"batch_size": 4, "num_workers": options.workers, "patch_size": [32, 32, 32]},
        "model": {"type": "unet", "depths": [4, 8]},
        "device": "cpu",
    }
    config.write_text(yaml.safe_dump(values))
    torch.set_num_threads(1)
    parts = assemble(load_run(config))
    stepper, me = Stepper(parts), psutil.Process()
    base = together_mib(me)
    cases = parts.layout.cases("train")
    size = (options.folder / "train.h5").stat().st_size / 1e9
    print(f"{size:.2f} GB, {len(cases)} cases, {options.workers} workers; before the first batch {base:.0f} MiB")
    began = time.perf_counter()
    findings = [finding for finding in parts.layout.inspect("train") if finding.severity == "error"]
    print(f"presence flags held against all masks in {time.perf_counter() - began:.1f} s: {len(findings)} faults")
    print(f"{'epoch':>5} {'batch':>6} {'all MiB':>10} {'above base':>11} {'seconds':>8}")
    loader = parts.train_loader(cases, parts.source(cases, Silent()))
    began = time.perf_counter()
    for epoch in range(options.epochs):
        for number, loaded in enumerate(loader.epoch(epoch)):
            if options.train:
                batch = parts.task.targets(loaded.tensors)
                stepper.backward(stepper.forward_loss(batch)[0]["loss"], 1.0)
                stepper.update(1e-3, number)
            if number in (10, len(loader) // 2, len(loader) - 1):
                all_of_it, seconds = together_mib(me), time.perf_counter() - began
                print(
                    f"{epoch + 1:>5} {number + 1:>6} {all_of_it:>10.0f} {all_of_it - base:>11.0f} {seconds:>8.1f}",
                    flush=True,
                )
    loader.close()


if __name__ == "__main__":
    main()
