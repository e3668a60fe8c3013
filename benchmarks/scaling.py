"""Growth of time and memory of each command with the number of images, of classes, of pixels and of voxels.

Run: python benchmarks/scaling.py [images] [classes] [sides] [volumes] [--quick] [--sizes 100 1000 4000]
                                  [--commands start check] [--json FILE]

Data are generated, and the network is tiny, so that what is measured is the work around it. Each command is a process
of its own, whose processor time and peak memory count: `start` (training of one batch, without validation), `check`
(of the data-set file: that of a run imports PyTorch behind the reading, whose memory would hide that of small sizes),
`epoch` (training of all images, with validation and report, less the time of `start`), `eval` and `predict` of as many
other images. `--quick` leaves out the largest size of each part, and takes minutes.

Each size is measured at least twice. What counts is the shortest time and the lowest peak; the noise of a size is the
spread of its repeats, at least that of the smallest size, and at least 0.05 s or 4 MiB.

A command must grow no faster than its work. What it costs anyhow is taken off: only increments since the size with the
lowest cost, of all but the two largest sizes, count, and those that are above twice their noise. The slope is that of
their logarithms between the two largest sizes; work that costs the same for each image, class, pixel or voxel has a
slope of 1. The cost of an item (increment by work) is also compared between the two largest sizes, so that a cost that
begins late is found. Both are told with what noise makes of them. The verdict is

- `flat` if the largest increment does not stand out of the noise: there is nothing to be told of it,
- `ok` if the slope is at most 1.1, and an item costs at most 1.25 times as much,
- `open` if one of them is above, and noise explains it: repeat this part, with more `--repeats`,
- `TOO FAST` if one of them is above although the noise is taken off,
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
MOST_DEARER = 1.25
"""Largest ratio of the costs of an item at the two largest sizes."""
LEAST_NOISE = {"s": 0.05, "MiB": 4.0}
"""Noise of measurements whose repeats happen to be equal."""
CLEAR = 2.0
"""Increments count from so many times their noise."""
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
    (folder / "data.yaml").write_text(yaml.safe_dump({"name": "scaling", **config["dataset"]}))
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


def measured(
    part: str, size: int, most_s: float, commands: Sequence[str], repeats: int
) -> Iterator[tuple[str, list[Used] | None]]:
    """Run these commands at one size, each some times in turn; the others have no measurements."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        config, images, alone = prepare(part, size, folder)
        found: dict[str, list[Used] | None] = {name: [] if name in commands else None for name in COMMANDS}
        for index in range(repeats):
            runs = {
                "start": ["train", str(config), *alone, "data.limit_batches=1", f"output.dir=first{index}"],
                "check": ["data", "check", str(folder / "data.yaml")],
                "epoch": ["train", str(config), f"output.dir=run{index}"],
                "eval": ["eval", "run0", "--split", "test", "--out", f"scores{index}"],
                "predict": ["predict", str(images), "--run", "run0", "--out", f"masks{index}"],
            }
            start: Used | None = None
            for name, words in runs.items():
                row = found[name]
                if row is None or (name in ("eval", "predict") and not (folder / "run0" / "checkpoints").exists()):
                    found[name] = None
                    continue
                used = measure(words, folder, most_s)
                if name == "start":
                    start = used
                if name == "epoch" and used is not None and start is not None:
                    used = Used(max(used.cpu_s - start.cpu_s, 0.0), used.peak_mib)
                found[name] = None if used is None else [*row, used]
        yield from found.items()


@dataclass(frozen=True)
class Ratio:
    """Holds a slope, or a ratio of costs, with what is left of it if the noise is taken off."""

    value: float
    least: float


def noises_of(rows: Sequence[Sequence[float]], unit: str) -> list[float]:
    """Measure the noise of each size as the spread of its repeats, at least that of the smallest size."""
    least = max(LEAST_NOISE[unit], max(rows[0]) - min(rows[0]))
    return [max(least, max(row) - min(row)) for row in rows]


def growth(works: Sequence[float], rows: Sequence[Sequence[float]], unit: str) -> tuple[Ratio | None, Ratio] | None:
    """Compute the slope between the two largest clear sizes, and how much dearer an item is at the largest size.

    Args:
        works: Work at each size.
        rows: Repeats at each size.
        unit: `s` or `MiB`.

    Returns:
        The slope, which is None if only one increment is clear, and the ratio of costs; None if there is no growth.

    Example:
        >>> slope, dearer = growth([1, 11, 101], [[2.0, 2.1], [4.0, 4.1], [22.0, 22.4]], "s")
        >>> round(slope.value, 2), round(slope.least, 2), round(dearer.value, 2)
        (1.0, 0.97, 1.0)
        >>> growth([1, 11, 101], [[2.0, 2.3], [2.3, 2.2], [1.9, 2.4]], "s")
        >>> slope, _ = growth([1, 8, 27, 64], [[455, 455], [442, 447], [463, 463], [509, 510]], "MiB")
        >>> round(slope.value, 2)
        1.07
    """
    costs = [min(row) for row in rows[:-2]] or [min(rows[0])]
    first = costs.index(min(costs))
    works, rows = works[first:], rows[first:]
    noises = noises_of(rows, unit)
    sizes = [
        (work - works[0], min(row) - min(rows[0]), noise)
        for work, row, noise in zip(works[1:], rows[1:], noises[1:], strict=True)
    ]
    clear = [size for size in sizes if size[1] > CLEAR * size[2]]
    if len(sizes) < 2 or sizes[-1] not in clear:
        return None
    (work, increment, noise), (work_before, increment_before, noise_before) = sizes[-1], sizes[-2]
    item, item_before = increment / work, max(increment_before, noise_before) / work_before
    least = (increment - noise) / work / ((max(increment_before, 0.0) + noise_before) / work_before)
    return _slope(clear), Ratio(item / item_before, least)


def _slope(clear: Sequence[tuple[float, float, float]]) -> Ratio | None:
    """Compute the slope between the last two of `(work, increment, noise)`."""
    if len(clear) < 2:
        return None
    (work_before, before, noise_before), (work, increment, noise) = clear[-2:]
    width = math.log(work / work_before)
    return Ratio(math.log(increment / before) / width, math.log((increment - noise) / (before + noise_before)) / width)


def verdict_of(works: Sequence[float], rows: Sequence[Sequence[float] | None], unit: str) -> tuple[str, str]:
    """Tell slope and ratio of costs, and what they mean: `ok`, `flat`, `open`, `TOO FAST` or `TOO LONG`."""
    known = [row for row in rows if row is not None]
    found = growth(works[: len(known)], known, unit) if known else None
    if found is None:
        return "", "TOO LONG" if len(known) < len(rows) else "flat"
    slope, dearer = found
    texts = [] if slope is None else [f"{slope.value:.2f} (at least {slope.least:.2f})"]
    shown = ", ".join([*texts, f"x {dearer.value:.2f} (at least {dearer.least:.2f})"])
    bounds = [(dearer, MOST_DEARER), *([] if slope is None else [(slope, MOST)])]
    if len(known) < len(rows):
        return shown, "TOO LONG"
    if any(ratio.least > most for ratio, most in bounds):
        return shown, "TOO FAST"
    return shown, "open" if any(ratio.value > most for ratio, most in bounds) else "ok"


def work_of(part: str, size: int) -> float:
    """Return the work at a size: images, classes, pixels or voxels."""
    return float(size ** {"sides": 2, "volumes": 3}.get(part, 1))


def table(part: str, sizes: list[int], found: dict[str, list[list[Used] | None]]) -> tuple[list[str], bool]:
    """Make the Markdown table of a part; tells also whether all is well."""
    power = {"sides": "²", "volumes": "³"}.get(part, "")
    lines = ["", f"| {part} | " + " | ".join(f"{size:,}{power}" for size in sizes) + " | slope, cost of an item | |"]
    lines.append("|---" * (len(sizes) + 3) + "|")
    works, well = [work_of(part, size) for size in sizes], True
    for unit, name_of in (("s", "cpu_s"), ("MiB", "peak_mib")):
        for command, row in found.items():
            repeats = [None if used is None else [getattr(each, name_of) for each in used] for used in row]
            digits = 1 if unit == "s" else 0
            cells = ["-" if values is None else f"{min(values):,.{digits}f}" for values in repeats]
            steep, verdict = verdict_of(works, repeats, unit)
            well &= not verdict.startswith("TOO")
            lines.append(f"| {command}, {unit} | " + " | ".join(cells) + f" | {steep} | {verdict} |")
    return lines, well


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*SIZES, []], help="default: all")
    parser.add_argument("--sizes", type=int, nargs="+", help="other sizes, for one part; a slope needs three")
    parser.add_argument("--quick", action="store_true", help="leave out the largest size of each part")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each command at each size, at least 2")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--most-s", type=float, default=120.0, help="seconds of the processor that a command may take")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.sizes and len(options.parts) != 1:
        parser.error("`--sizes` needs one part, such as `images`")
    if options.repeats < 2:
        parser.error("`--repeats` must be at least 2: the noise is the spread of repeats")
    well, kept = True, {}
    for part in options.parts or list(SIZES):
        sizes = sorted(options.sizes or (SIZES[part][:-1] if options.quick else SIZES[part]))
        found: dict[str, list[list[Used] | None]] = {command: [] for command in options.commands}
        for size in sizes:
            commands = [name for name, row in found.items() if None not in row]  # none that took too long before
            for command, used in measured(part, size, options.most_s, commands, options.repeats):
                if command not in found:
                    continue
                found[command].append(used)
                print(f"{part} {size} {command}: {used}", file=sys.stderr, flush=True)
        lines, fine = table(part, sizes, found)
        print("\n".join(lines), flush=True)
        well &= fine
        kept[part] = {
            "sizes": sizes,
            **{name: [used and [each.__dict__ for each in used] for used in row] for name, row in found.items()},
        }
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
