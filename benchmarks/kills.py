"""Kill trainings with SIGKILL, resume them, and compare all that they leave with a training that was never stopped.

    python benchmarks/kills.py [--kills 17] [--aimed 9] [--only NAME ...] [--seed 1] [--work kills]

Each configuration trains on generated data, once undisturbed and once with kills: at random moments, and while a
checkpoint is being written. Compared are all tensors and headers of all checkpoints, every value, picture and histogram
of TensorBoard, the places in `memory.csv`, and every other file byte for byte, names, dates and durations aside; a file
that only one of them has is a difference, in the folder of a cache too. Prints one line for each.
"""

import argparse
import csv
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from _same_bits_files import tensors

OWN = """
from torch import nn


class Own(nn.Module):
    def __init__(self, in_channels, out_channels, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout2d(0.2)
        )
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, image):
        return self.head(self.layers(image))
"""
SAMPLES = {"vessels": 64, "scenes": 48, "organs": 32, "nuclei": 32}
"""Kinds of generated data, with the height of an image."""
BASE: dict[str, dict[str, object]] = {
    "data": {"batch_size": 2, "patch_size": [32, 32], "augmentation": "heavy", "num_workers": 0, "limit_batches": 6},
    "model": {"type": "unet", "depths": [8, 16], "dropout": 0.2},
    "training": {"epochs": 4, "metrics": ["dice"], "loss": {"bce": 0.5, "dice": 0.5}},
    "checkpoint": {"every_minutes": 0.0, "save_every": 2},
}
VOLUMES = {"batch_size": 2, "patch_size": None, "augmentation": {"noise_std": 0.05}}
SCENES = {"batch_size": 2, "patch_size": None, "image_size": [32, 48], "augmentation": "street", "num_workers": 2}
NUCLEI = {"batch_size": 2, "patch_size": None, "augmentation": "nuclei", "limit_batches": 6, "num_workers": 0}
CONFIGS: dict[str, tuple[str, dict[str, dict[str, object]]]] = {
    "unet, EMA, accumulation, cosine": ("vessels", {
        "training": {"ema": 0.9, "gradient_accumulation_steps": 3, "scheduler": "cosine", "warmup_epochs": 1.0},
    }),
    "plateau, memory cache, 2 workers": ("vessels", {
        "training": {"scheduler": {"type": "plateau", "patience": 1}}, "data": {"num_workers": 2, "cache": "memory"},
    }),
    "sa_unet, one-cycle, disk cache": ("vessels", {
        "model": {"type": "sa_unet", "depths": [8, 16], "keep_prob": 0.8}, "training": {"scheduler": "one_cycle"},
        "data": {"num_workers": 2, "cache": "disk", "cache_dir": "cache"},
    }),
    "utrans, SGD, steps": ("vessels", {
        "model": {"type": "utrans", "depths": [8, 16], "transformer_depth": 1, "transformer_heads": 2},
        "training": {"optimizer": "sgd", "scheduler": {"type": "step", "step_size": 2}},
        "data": {"image_size": [64, 64], "patch_size": [32, 32]},
    }),
    "pictures and activations": ("vessels", {
        "logging": {"log_images": True, "image_log_frequency": 1, "log_activations": True},
    }),
    "rare checkpoints": ("vessels", {"checkpoint": {"every_minutes": 10.0}, "training": {"epochs": 8}}),
    "bf16, early stopping": ("vessels", {
        "training": {"amp": "bf16", "epochs": 8, "early_stopping": {"enabled": True, "patience": 2, "min_delta": 0.2}},
    }),
    "scenes, class weights": ("scenes", {
        "data": SCENES, "training": {
            "loss": {"type": "cross_entropy", "class_weights": "median_frequency"}, "metrics": ["mean_iou"],
        },
    }),
    "unet in 3D, poly": ("organs", {"data": VOLUMES, "training": {"scheduler": "poly"}}),
    "sadaan": ("organs", {
        "data": VOLUMES, "model": {"type": "sadaan", "depths": [4, 8, 16], "features": 8},
        "training": {"loss": "sadaan", "val_interval": 2},
    }),
    "vgg3d, unfreezing": ("nuclei", {
        "data": NUCLEI, "model": {
            "type": "vgg3d", "depths": [4, 8], "convolutions": 1, "classifier_size": 16, "freeze_features": True,
            "unfreeze_every": 1,
        },
        "training": {"loss": "cross_entropy", "metrics": ["accuracy"], "scheduler": "cosine"},
    }),
    "own network": ("vessels", {"model": {"type": "own.py:Own", "width": 4}, "training": {"ema": 0.9}}),
    "cross-validation, disk cache": ("vessels", {
        "training": {"epochs": 2}, "data": {"cache": "disk", "cache_dir": "cache"},
    }),
}  # fmt: skip


RUN, CACHE = Path("outputs/experiments/run"), Path("cache")
MOMENTS = re.compile(rb"<time [^>]*>[^<]*</time>|<span>training time</span><b>[^<]*</b><span>[^<]*</span>")
"""Parts of a report that tell when it was written, and how long the training took."""


def write_config(work: Path, kind: str, changes: dict[str, dict[str, object]]) -> Path:
    """Write a configuration: `BASE` with changed sections."""
    values: dict[str, object] = {
        "dataset": f"data/{kind}_sample/dataset.yaml", "seed": 3, "device": "cpu", **BASE,
    }  # fmt: skip
    for section, keys in changes.items():
        kept = {} if section == "model" else BASE.get(section, {})
        values[section] = {**kept, **keys}
    path = work / "kills.yaml"
    path.write_text(yaml.safe_dump({"name": "kills", **values}, sort_keys=False))
    return path


class Running:
    """A command in a fork of this process, which has paid for the imports."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.child, self.code = os.fork(), None
        if self.child == 0:
            code = 70
            try:
                os.setsid()
                stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(stream, 1)
                os.dup2(stream, 2)
                from segcli.cli.main import run

                code = run(words)
            finally:
                os._exit(code)

    def ended(self, *, wait: bool = False) -> bool:
        """Tell if the command is over, or wait until it is."""
        if self.code is None:
            found, status = os.waitpid(self.child, 0 if wait else os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if found else None
        return self.code is not None

    def kill(self) -> bool:
        """Kill it; False if it was already over."""
        if self.ended():
            return False
        os.kill(self.child, signal.SIGKILL)
        self.ended(wait=True)
        return True


def writes(folder: Path) -> bool:
    """Tell if a checkpoint is being written, or was when the writer was killed."""
    places = [folder / "checkpoints", *folder.glob("fold_*/checkpoints")]
    return any(entry.name.startswith(".") for place in places if place.is_dir() for entry in os.scandir(place))


def wait(running: Running, seconds: float, *, aimed: bool) -> None:
    """Wait for a moment; if `aimed`, then for the next write of a checkpoint."""
    until = time.monotonic() + seconds
    while not running.ended() and (time.monotonic() < until or (aimed and not writes(RUN))):
        time.sleep(0.0005)


def differences(whole: Path, cut: Path) -> Iterator[str]:
    """List what differs between two folders: of a run, of a cross-validation, or of a cache."""
    files = [{str(p.relative_to(f)) for p in f.rglob("*") if "tfevents" not in p.name} for f in (whole, cut)]
    if files[0] != files[1]:
        yield f"files {sorted(files[0] ^ files[1])[:3]}"
    for name in sorted(files[0] & files[1]):
        if (whole / name).is_file() and content(whole / name) != content(cut / name):
            yield name
    for board in sorted({path.parent.relative_to(whole) for path in whole.rglob("*tfevents*")}):
        if _events(whole / board) != _events(cut / board):
            yield str(board)


def content(path: Path) -> object:
    """Read what must be equal in a file: all its bytes, but no moments, durations and amounts of memory."""
    if path.suffix == ".safetensors":
        return {name: leaf if isinstance(leaf, str) else leaf.tobytes() for name, leaf in tensors(path)}
    if path.name == "memory.csv":
        with path.open(newline="") as stream:
            return [(row["epoch"], row["batch"], row["stage"]) for row in csv.DictReader(stream)]
    if path.name == "environment.yaml":  # names the command, and each command after it
        values = yaml.safe_load(path.read_text())
        return {key: value for key, value in values.items() if key not in ("command_line", "resumed", "memory_gib")}
    if path.name == ".lock":
        return "the number of the process that wrote it"
    written = path.read_bytes()
    return MOMENTS.sub(b"", written) if path.suffix == ".html" else written


def _events(folder: Path) -> list[tuple[object, ...]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    shown.Reload()
    tags = shown.Tags()
    measured = "memory/"  # another value each time
    found = [
        (tag, e.step, "" if tag.startswith(measured) else repr(e.value))
        for tag in tags["scalars"]
        for e in shown.Scalars(tag)
    ]
    found += [(tag, e.step, repr(e.encoded_image_string)) for tag in tags["images"] for e in shown.Images(tag)]
    found += [(tag, e.step, repr(e.histogram_value)) for tag in tags["histograms"] for e in shown.Histograms(tag)]
    return sorted(found)


class Experiment:
    """The commands that train a configuration, and go on with it after a kill."""

    def __init__(self, config: Path, log: Path, rng: random.Random, *, folds: bool) -> None:
        self.log, self.rng = log, rng
        self.train = ["train", str(config), "name=run", *(["--folds", "2"] if folds else [])]
        self.folds = folds

    def begin(self) -> Running:
        """Begin the run, or go on with what is left of it."""
        if self.folds:
            again = (RUN / "folds.yaml").exists() and self.rng.random() < 0.5
        else:
            again = (RUN / "checkpoints/last.safetensors").exists()
        return Running(["resume", "run"] if again else self.train, self.log)

    def whole(self) -> float:
        """Train without any kill, and put the folders away; return the seconds it took."""
        self.clear()
        begun = time.monotonic()
        running = self.begin()
        running.ended(wait=True)
        if running.code:
            raise SystemExit(f"the training failed: {self.log.read_text()[-500:]}")
        shutil.rmtree("whole", ignore_errors=True)
        for folder in (RUN, CACHE):
            if folder.exists():
                folder.rename(Path("whole") / folder.name if folder == CACHE else Path("whole"))
        return time.monotonic() - begun

    def clear(self) -> None:
        """Remove the run and its cache."""
        for folder in (RUN, CACHE):
            shutil.rmtree(folder, ignore_errors=True)

    def attack(self, kills: int, aimed: int) -> tuple[int, int, list[str]]:
        """Train once undisturbed, then with kills; return the numbers of random and aimed kills, and what differs.

        A kill counts as aimed if it left a checkpoint half written.
        """
        duration, done = self.whole(), {True: 0, False: 0}
        while done[False] < kills or done[True] < aimed:
            running = self.begin()
            aim = done[True] < aimed and (done[False] >= kills or self.rng.random() < 0.5)
            wait(running, self.rng.uniform(0.0, 0.6) * duration, aimed=aim)
            if running.kill():
                done[writes(RUN)] += 1
                continue
            if wrong := self.after_the_end(running):
                return done[False], done[True], wrong
            self.clear()  # it came to its end: once more from the beginning
        running = self.begin()
        running.ended(wait=True)
        return done[False], done[True], self.after_the_end(running)

    def after_the_end(self, running: Running) -> list[str]:
        """Compare the run that was killed with the other."""
        if running.code:
            return [f"exit code {running.code}: {self.log.read_text()[-500:]}"]
        if CACHE.exists():
            CACHE.rename(RUN / CACHE.name)
        return list(differences(Path("whole"), RUN))


def main() -> None:
    """Attack each configuration; exit with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=17, help="at random moments, for each configuration")
    parser.add_argument("--aimed", type=int, default=9, help="while a checkpoint is written, for each configuration")
    parser.add_argument("--only", nargs="*", choices=CONFIGS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("kills"), help="folder for data and runs")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    os.chdir(args.work)
    import torch.utils.tensorboard

    import segcli.commands.train  # noqa: F401 - once, for all forks

    torch.set_num_threads(1)  # before the first fork: a fork of a process with threads may stop
    log, rng, total = Path("log.txt").absolute(), random.Random(args.seed), [0, 0, 0]
    Path("own.py").write_text(OWN)
    for kind, size in SAMPLES.items():
        Running(["data", "sample", kind, "--size", str(size), "--overwrite"], log).ended(wait=True)
    for name in args.only or CONFIGS:
        config = write_config(Path(), *CONFIGS[name])
        tried = Experiment(config, log, rng, folds=name.startswith("cross-validation"))
        random_kills, aimed_kills, wrong = tried.attack(args.kills, args.aimed)
        total = [total[0] + random_kills, total[1] + aimed_kills, total[2] + bool(wrong)]
        print(f"{name}: {random_kills} random and {aimed_kills} aimed kills; differs: {wrong or 'nothing'}", flush=True)
    print(f"{total[0]} random and {total[1]} aimed kills; {total[2]} configurations differ", flush=True)
    raise SystemExit(total[2] > 0)


if __name__ == "__main__":
    main()
