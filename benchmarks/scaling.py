"""Growth of time and memory of each command with the number of images, of classes, of pixels and of voxels.

Run: python benchmarks/scaling.py [images] [classes] [sides] [volumes] [--sizes 100 1000] [--most-s 120] [--json FILE]

Data are generated, and the network is tiny, so that what is measured is the work around it. Each command is a process
of its own, whose processor time and peak memory count: `start` (training of one batch), `check`, `epoch` (training of
all images, less `start`), `eval` and `predict` of as many other images.

A command must grow no faster than its work. The slope is that of the logarithms of both increments since the smallest
size: what a command costs anyhow is left out, and work that costs the same for each image, class, pixel or voxel has a
slope of 1. Up to 1.1 is `ok`; an increment below half a second, or 32 MiB, is `flat`. A command that takes more seconds
of the processor than `--most-s` is ended, and left out at larger sizes; the table says `too long`. The exit code is 1
if anything grows too fast or takes too long. Linux only, as it limits the processor time of a process.
"""

import argparse
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import yaml
from PIL import Image

SIZES = {
    "images": [100, 1000, 10_000, 20_000],
    "classes": [2, 10, 50, 150],
    "sides": [256, 1024, 4096, 8192],
    "volumes": [64, 128, 192, 256],
}
COMMANDS = ("start", "check", "epoch", "eval", "predict")
MOST = 1.1
"""Largest slope."""
FLAT = {"s": 0.5, "MiB": 32.0}
"""Increments that cannot be told from noise."""
SMALL = {"images": 32, "classes": 128}
"""Side of the pictures, where it does not change."""


@dataclass
class Used:
    """Holds what a process took."""

    cpu_s: float
    peak_mib: float


def picture(rng: np.random.Generator, side: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw RGB noise with a brighter rectangle, or with a stripe for each class."""
    image = rng.integers(0, 150, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), np.uint8)
    if classes > 1:
        mask[:] = (np.arange(side) * classes // side)[None]
        return image + (mask // 2)[..., None], mask
    top, left = rng.integers(0, side // 2, 2)
    mask[top : top + side // 3, left : left + side // 3] = 255
    return image + (mask // 3)[..., None], mask


def write_pictures(root: Path, counts: dict[str, int], side: int, classes: int) -> None:
    """Write the folders of the splits."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for folder in ("image", "label"):
            (root / split / folder).mkdir(parents=True)
        for index in range(count):
            for folder, array in zip(("image", "label"), picture(rng, side, classes), strict=True):
                Image.fromarray(array).save(root / split / folder / f"{split}{index:05d}.png", compress_level=1)


def write_volumes(root: Path, side: int) -> None:
    """Write one volume for each split."""
    rng = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for split in ("train", "val", "test"):
        label = np.zeros((side,) * 3, np.uint8)
        corner = rng.integers(side // 8, side // 2, 3)
        label[tuple(slice(start, start + side // 3) for start in corner)] = 1
        voxels = rng.integers(0, 300, label.shape, dtype=np.int16) + 200 * label.astype(np.int16)
        for folder, array in (("imagesTr", voxels), ("labelsTr", label)):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), root / folder / f"{split}.nii.gz")


def prepare(part: str, size: int, folder: Path) -> tuple[Path, Path]:
    """Write data and config; returns the config and the images that are predicted."""
    root, classes, cut = folder / "data", 1, None
    if part == "volumes":
        write_volumes(root, size)
        dataset = {"format": "nifti_volumes", "classes": ["box"], "split": {"val": ["val"], "test": ["test"]}}
        cut, images = [32] * 3, root / "imagesTr" / "test.nii.gz"
    else:
        classes = size if part == "classes" else 1
        count = {"images": size, "classes": 8, "sides": 1}[part]
        side = SMALL.get(part, size)
        write_pictures(root, {"train": count, "val": min(count, 4), "test": count}, side, classes)
        dataset = {"num_channels": 3, "num_classes": classes, "mean": [0.3] * 3, "std": [0.2] * 3}
        cut, images = [128] * 2 if part == "sides" else None, root / "test" / "image"
    config = {
        "name": "scaling",
        "dataset": {"paths": {"root": str(root)}, **dataset},
        "data": {
            "batch_size": 32 if part == "images" else 1,
            "num_workers": 0,
            "augmentation": {"preset": "light"},
            **({"patch_size": cut} if cut else {}),
            **({"preprocessing": {"normalize": "per_image"}} if part == "volumes" else {}),
        },
        "model": {"type": "unet", "depths": [2, 4]},
        "training": {"epochs": 1, "optimizer": {"type": "adamw", "learning_rate": 0.003}, "metrics": ["dice"]},
        "inference": {"tile": [64] * 3} if part == "volumes" else {},
        "device": "cpu",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml", images


def measure(words: list[str], folder: Path, most_s: float) -> Used | None:
    """Run one command of segcli; None if it took too long."""
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "segcli", *words],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (math.ceil(most_s), math.ceil(most_s) + 5))
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return None
    if process.returncode and not (words[:2] == ["data", "check"] and process.returncode == 1):
        sys.exit(f"`segcli {' '.join(words)}` failed\n{(folder / 'log.txt').read_text()[-3000:]}")
    return Used(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def measured(part: str, size: int, most_s: float, skipped: set[str]) -> Iterator[tuple[str, Used | None]]:
    """Run all commands at one size; those that took too long at a smaller one are skipped."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        config, images = prepare(part, size, folder)
        runs = {
            "start": ["train", str(config), "data.limit_batches=1", "output.dir=first"],
            "check": ["data", "check", str(config)],
            "epoch": ["train", str(config), "output.dir=run"],
            "eval": ["eval", "run", "--split", "test", "--out", "scores"],
            "predict": ["predict", str(images), "--run", "run", "--out", "masks"],
        }
        start: Used | None = None
        for name, words in runs.items():
            if name in skipped or (name in ("eval", "predict") and not (folder / "run" / "checkpoints").exists()):
                yield name, None
                continue
            used = measure(words, folder, most_s)
            if name == "start":
                start = used
            if name == "epoch" and used is not None and start is not None:
                used = Used(max(used.cpu_s - start.cpu_s, 0.0), used.peak_mib)
            yield name, used


def slope(works: list[float], values: list[float | None], flat: float) -> float | None:
    """Return the slope of the logarithms of both increments since the smallest size; None if there is no growth."""
    if values[0] is None:
        return math.inf
    points = [
        (math.log(work - works[0]), math.log(value - values[0]))
        for work, value in zip(works[1:], values[1:], strict=True)
        if value is not None and value - values[0] > flat
    ]
    if len(points) < 2:
        return None
    xs, ys = np.array(points).T
    return float(np.polyfit(xs, ys, 1)[0])


def work_of(part: str, size: int) -> float:
    """Return the work at a size: images, classes, pixels or voxels."""
    return float(size ** {"sides": 2, "volumes": 3}.get(part, 1))


def table(part: str, sizes: list[int], found: dict[str, list[Used | None]]) -> tuple[list[str], bool]:
    """Make the Markdown table of a part; tells also whether all is well."""
    power = {"sides": "²", "volumes": "³"}.get(part, "")
    lines = ["", f"| {part} | " + " | ".join(f"{size:,}{power}" for size in sizes) + " | slope | |"]
    lines.append("|---" * (len(sizes) + 3) + "|")
    works, well = [work_of(part, size) for size in sizes], True
    for unit, name_of in (("s", "cpu_s"), ("MiB", "peak_mib")):
        for command, row in found.items():
            values = [None if used is None else getattr(used, name_of) for used in row]
            cells = [
                "too long" if value is None else f"{value:,.1f}" if unit == "s" else f"{value:,.0f}" for value in values
            ]
            steep = slope(works, values, FLAT[unit])
            ok = None not in values and (steep is None or steep <= MOST)
            well &= ok
            told = "flat" if steep is None else f"{steep:.2f}"
            lines.append(f"| {command}, {unit} | " + " | ".join(cells) + f" | {told} | {'ok' if ok else 'NOT ok'} |")
    return lines, well


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*SIZES, []], help="default: all")
    parser.add_argument("--sizes", type=int, nargs="+", help="other sizes, for one part")
    parser.add_argument("--most-s", type=float, default=120.0, help="seconds of the processor that a command may take")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    well, kept = True, {}
    for part in options.parts or list(SIZES):
        sizes = options.sizes or SIZES[part]
        found: dict[str, list[Used | None]] = {command: [] for command in COMMANDS}
        for size in sizes:
            for command, used in measured(
                part, size, options.most_s, {name for name, row in found.items() if None in row}
            ):
                found[command].append(used)
                print(f"{part} {size} {command}: {used}", file=sys.stderr, flush=True)
        lines, fine = table(part, sizes, found)
        print("\n".join(lines), flush=True)
        well &= fine
        kept[part] = {"sizes": sizes, **{name: [used and used.__dict__ for used in row] for name, row in found.items()}}
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
