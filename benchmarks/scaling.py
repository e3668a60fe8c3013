"""Growth of time and memory of each command with the number of images, of classes, of pixels and of voxels.

Run: python benchmarks/scaling.py [images] [classes] [sides] [volumes] [--quick] [--sizes 100 1000 4000] [--json FILE]

Data are generated, and the network is tiny, so that what is measured is the work around it. Each command is a process
of its own, whose processor time and peak memory count: `start` (training of one batch, without validation), `check`,
`epoch` (training of all images, with validation and report, less the time of `start`), `eval` and `predict` of as many
other images. `--quick` leaves out the largest size of each part, and takes minutes.

A command must grow no faster than its work. The slope is that of the logarithms of both increments since the smallest
size: what a command costs anyhow is left out, and work that costs the same for each image, class, pixel or voxel has a
slope of 1. Two measurements are taken to differ by a quarter of a second or 5 %, and by 16 MiB or 2 %; the slope
is told with what that makes of it. The verdict is

- `ok` if the slope is at most 1.1,
- `flat` if no more than one increment is twice as large as its error: there is nothing to be told of it,
- `open` if the slope is above 1.1, and errors explain it: repeat this part, or take larger sizes,
- `TOO FAST` if the slope is above 1.1 whatever the errors are,
- `TOO LONG` if a command took more seconds of the processor than `--most-s`; it is ended, and left out at larger sizes.

The exit code is 1 after one of the last two. Linux only, as it limits the processor time of a process.
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
from collections.abc import Iterator, Sequence
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
NOISE = {"s": (0.25, 0.05), "MiB": (16.0, 0.02)}
"""Difference between two measurements of the same command: at least the first, or so large a share of the value."""
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


def prepare(part: str, size: int, folder: Path) -> tuple[Path, Path, list[str]]:
    """Write data and config; returns the config, the images that are predicted, and what leaves validation out."""
    root, classes, cut = folder / "data", 1, None
    if part == "volumes":
        write_volumes(root, size)
        dataset = {"format": "nifti_volumes", "classes": ["box"], "split": {"val": ["val"], "test": ["test"]}}
        cut, images = [32] * 3, root / "imagesTr" / "test.nii.gz"
        alone = ["dataset.split.val=null", "dataset.split.test=[val,test]"]
    else:
        classes = size if part == "classes" else 1
        count = {"images": size, "classes": 8, "sides": 1}[part]
        side = SMALL.get(part, size)
        write_pictures(root, {"train": count, "val": min(count, 4), "test": count}, side, classes)
        dataset = {"num_channels": 3, "num_classes": classes, "mean": [0.3] * 3, "std": [0.2] * 3}
        cut, images = [128] * 2 if part == "sides" else None, root / "test" / "image"
        (folder / "alone").mkdir()
        (folder / "alone" / "train").symlink_to(root / "train")
        alone = [f"dataset.paths.root={folder / 'alone'}", "dataset.follow_links=true"]
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
    return folder / "config.yaml", images, alone


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
        config, images, alone = prepare(part, size, folder)
        runs = {
            "start": ["train", str(config), *alone, "data.limit_batches=1", "output.dir=first"],
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


@dataclass(frozen=True)
class Slope:
    """Holds a slope with the smallest and the largest that errors of measurement can make of it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Show the slope with its range."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def slope(works: Sequence[float], values: Sequence[float], unit: str) -> Slope | None:
    """Compute the slope of the logarithms of both increments since the smallest size; None if there is no growth.

    Example:
        >>> print(slope([1, 11, 101], [2.0, 4.0, 22.0], "s"))
        1.00 (0.87 to 1.15)
        >>> print(slope([1, 11, 101], [2.0, 2.3, 1.9], "s"))
        None
    """
    least, share = NOISE[unit]
    errors = [max(least, share * value) for value in values]
    points = [
        (math.log(work - works[0]), value - values[0], error + errors[0])
        for work, value, error in zip(works[1:], values[1:], errors[1:], strict=True)
        if value - values[0] > 2 * (error + errors[0])
    ]
    if len(points) < 2:
        return None
    xs, increments, margins = np.array(points).T
    weights = (xs - xs.mean()) / ((xs - xs.mean()) ** 2).sum()  # the slope of least squares is a weighted sum
    bent = np.sign(weights) * margins
    found = [float(weights @ np.log(increments + turn * bent)) for turn in (0, -1, 1)]
    return Slope(*found)


def verdict_of(works: Sequence[float], values: Sequence[float | None], unit: str) -> tuple[str, str]:
    """Tell the slope, and what it means: `ok`, `flat`, `open`, `TOO FAST` or `TOO LONG`."""
    known = [value for value in values if value is not None]
    steep = slope(works[: len(known)], known, unit) if known else None
    if len(known) < len(values):
        return "" if steep is None else str(steep), "TOO LONG"
    if steep is None:
        return "", "flat"
    return str(steep), "TOO FAST" if steep.low > MOST else "open" if steep.value > MOST else "ok"


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
            cells = ["-" if value is None else f"{value:,.1f}" if unit == "s" else f"{value:,.0f}" for value in values]
            steep, verdict = verdict_of(works, values, unit)
            well &= not verdict.startswith("TOO")
            lines.append(f"| {command}, {unit} | " + " | ".join(cells) + f" | {steep} | {verdict} |")
    return lines, well


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*SIZES, []], help="default: all")
    parser.add_argument("--sizes", type=int, nargs="+", help="other sizes, for one part; a slope needs three")
    parser.add_argument("--quick", action="store_true", help="leave out the largest size of each part")
    parser.add_argument("--most-s", type=float, default=120.0, help="seconds of the processor that a command may take")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.sizes and len(options.parts) != 1:
        parser.error("`--sizes` needs one part, such as `images`")
    well, kept = True, {}
    for part in options.parts or list(SIZES):
        sizes = sorted(options.sizes or (SIZES[part][:-1] if options.quick else SIZES[part]))
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
