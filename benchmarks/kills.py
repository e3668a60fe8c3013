"""Kill trainings with SIGKILL, resume them, and compare all that they leave with a training that was never stopped.

    python benchmarks/kills.py [--kills 17] [--aimed 9] [--only NAME ...] [--seed 1] [--work kills]

Each configuration trains on generated data, once undisturbed and once with kills: at random moments, and while a
checkpoint is being written. Compared are all tensors and headers of all checkpoints, the history, the places in
`memory.csv`, every value, picture and histogram of TensorBoard, and the list of files. Prints one line for each.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from _same_bits_files import tensors

BASE: dict[str, dict[str, object]] = {
    "data": {"batch_size": 2, "patch_size": [64, 64], "augmentation": "heavy", "num_workers": 0, "limit_batches": 6},
    "model": {"type": "unet", "depths": [8, 16], "dropout": 0.2},
    "training": {"epochs": 4, "metrics": ["dice"], "loss": {"bce": 0.5, "dice": 0.5}},
    "checkpoint": {"every_minutes": 0.0, "save_every": 2},
}
VOLUMES = {"batch_size": 2, "patch_size": None, "augmentation": {"noise_std": 0.05}}
SCENES = {"batch_size": 2, "patch_size": None, "image_size": [64, 96], "augmentation": "street", "num_workers": 2}
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
}  # fmt: skip


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
    """Tell if a checkpoint is being written."""
    checkpoints = folder / "checkpoints"
    return checkpoints.is_dir() and any(entry.name.startswith(".") for entry in os.scandir(checkpoints))


def wait(running: Running, folder: Path, seconds: float, *, aimed: bool) -> None:
    """Wait for a moment; if `aimed`, then for the next write of a checkpoint."""
    until = time.monotonic() + seconds
    while not running.ended() and (time.monotonic() < until or (aimed and not writes(folder))):
        time.sleep(0.0005)


def differences(whole: Path, cut: Path) -> Iterator[str]:
    """List what differs between two run folders."""
    names = [{str(p.relative_to(f)) for p in f.rglob("*") if "tfevents" not in p.name} for f in (whole, cut)]
    if names[0] != names[1]:
        yield f"files {sorted(names[0] ^ names[1])[:3]}"
    for path in sorted((whole / "checkpoints").glob("*.safetensors")):
        one, other = (dict(tensors(f / "checkpoints" / path.name)) for f in (whole, cut))
        keys = [k for k in {**one, **other} if not k.startswith(("segcli.config.name", "segcli.config.output"))]
        if any(k not in one or k not in other or _raw(one[k]) != _raw(other[k]) for k in keys):
            yield path.name
    if (whole / "metrics_history.yaml").read_bytes() != (cut / "metrics_history.yaml").read_bytes():
        yield "metrics_history.yaml"
    if _places(whole) != _places(cut):
        yield "memory.csv"
    boards = [[_events(f / "tensorboard" / line) for line in ("", "train", "val")] for f in (whole, cut)]
    if boards[0] != boards[1]:
        yield "TensorBoard"


def _raw(value: Any) -> object:
    return value if isinstance(value, str) else value.tobytes()


def _places(folder: Path) -> list[tuple[str, ...]]:
    with (folder / "memory.csv").open(newline="") as stream:
        return [(row["epoch"], row["batch"], row["stage"]) for row in csv.DictReader(stream)]


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


def next_words(config: Path, cut: Path) -> list[str]:
    """Choose the command that goes on with the run, or begins it."""
    begun = (cut / "checkpoints/last.safetensors").exists()
    return ["resume", "cut"] if begun else ["train", str(config), "name=cut"]


def attack(config: Path, log: Path, rng: random.Random, kills: int, aimed: int) -> tuple[int, int, list[str]]:
    """Train once undisturbed and once with kills; return the numbers of random and aimed kills, and what differs."""
    whole, cut = (Path("outputs/experiments") / name for name in ("whole", "cut"))
    begun = time.monotonic()
    running = Running(["train", str(config), "name=whole", "--overwrite"], log)
    running.ended(wait=True)
    duration = time.monotonic() - begun
    if running.code:
        raise SystemExit(f"the training failed: {log.read_text()[-500:]}")
    shutil.rmtree(cut, ignore_errors=True)
    done = {True: 0, False: 0}
    while sum(done.values()) < kills + aimed:
        running = Running(next_words(config, cut), log)
        aim = rng.random() < (aimed - done[True]) / (kills + aimed - sum(done.values()))
        wait(running, cut, rng.uniform(0.0, 0.6) * duration, aimed=aim)
        if running.kill():
            done[aim] += 1
            continue
        if wrong := _after_the_end(running, whole, cut):
            return done[False], done[True], wrong
        shutil.rmtree(cut)  # it came to its end: once more from the beginning
    running = Running(next_words(config, cut), log)
    running.ended(wait=True)
    return done[False], done[True], _after_the_end(running, whole, cut)


def _after_the_end(running: Running, whole: Path, cut: Path) -> list[str]:
    return [f"exit code {running.code}"] if running.code else list(differences(whole, cut))


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
    for kind in ("vessels", "scenes", "organs"):
        Running(["data", "sample", kind, "--overwrite"], log).ended(wait=True)
    for name in args.only or CONFIGS:
        random_kills, aimed_kills, wrong = attack(
            write_config(Path(), *CONFIGS[name]), log, rng, args.kills, args.aimed
        )
        total = [total[0] + random_kills, total[1] + aimed_kills, total[2] + bool(wrong)]
        print(f"{name}: {random_kills} random and {aimed_kills} aimed kills; differs: {wrong or 'nothing'}", flush=True)
    print(f"{total[0]} random and {total[1]} aimed kills; {total[2]} configurations differ", flush=True)
    raise SystemExit(total[2] > 0)


if __name__ == "__main__":
    main()
