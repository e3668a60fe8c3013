# python benchmarks/fine_tuning.py data/hrf data/chase_db1
"""A U-Net for CHASE_DB1 that starts from weights of other photographs, and one that starts from random weights.

HRF (`images`, `manual1`, `mask`) stands for FIVES: another camera, adults, another resolution. A small U-Net is
trained there first. Then each seed trains it on children 1 to 8 of CHASE_DB1, with the same recipe and equal steps.
Both eyes of children 9 and 10 are scored: inside the field of view, mean Dice of the images, threshold 0.5. Nothing is
chosen by these scores: those of the weights after each stated step are shown.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from segcli.cli.main import run
from segcli.core.processor import processor_kind

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (1, 2, 3)
EPOCHS = (2, 4, 8)
"""Epochs after which the images are scored; one epoch has 16 steps."""
RECIPE: dict[str, Any] = {
    "data": {
        "batch_size": 4,
        "patch_size": [160, 160],
        "patches_per_image": 4,
        "num_workers": 0,
        "cache": "memory",
        "augmentation": "light",
    },
    "model": {"type": "unet", "depths": [8, 16, 32, 64]},
    "training": {
        "optimizer": {"type": "adam", "learning_rate": 0.002},
        "scheduler": "constant",
        "loss": {"bce": 0.5, "dice": 0.5},
        "metrics": ["dice"],
    },
    "logging": {"tensorboard": False, "visualization_interval": None},
    "device": "cpu",
}


def main() -> None:
    """Train and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hrf", type=Path)
    parser.add_argument("chase", type=Path)
    options = parser.parse_args()
    hrf, chase = options.hrf.resolve(), options.chase.resolve()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        split = "dataset.split={by: lists, val: [05_h]}"
        trained("source", hrf, "hrf", [512, 768], 30, 0, None, split, "training.val_interval=30")
        found = {
            start: [
                trained(f"{start}_{seed}", chase, "chase_db1", [480, 480], EPOCHS[-1], seed, weights) for seed in SEEDS
            ]
            for start, weights in (("scratch", None), ("fine_tuned", "source"))
        }
    print(
        f"{processor_kind()}, {time.monotonic() - started:.0f} s; mean Dice of 4 images over {len(SEEDS)} seeds (range)"
    )
    print("| steps | from random weights | from HRF |")
    print("|---|---|---|")
    for epoch in EPOCHS:
        print(f"| {16 * epoch} | {' | '.join(spread([run[epoch] for run in runs]) for runs in found.values())} |")


def trained(
    name: str, root: Path, dataset: str, size: list[int], epochs: int, seed: int, weights: str | None, *overrides: str
) -> dict[int, float]:
    """Train one network; return the Dice of the validation images after each epoch in which they were scored."""
    values = {"name": name, "dataset": str(ROOT / f"configs/datasets/{dataset}.yaml"), "seed": seed, **RECIPE}
    values["model"] = {**RECIPE["model"], "weights": weights}
    Path("run.yaml").write_text(yaml.safe_dump(values))
    words = [f"dataset.paths.root={root}", f"data.image_size={size}", f"training.epochs={epochs}"]
    assert run(["train", "run.yaml", *words, "training.val_interval=2", *overrides, "--quiet"]) == 0
    history = yaml.safe_load(Path(f"outputs/experiments/{name}/metrics_history.yaml").read_text())
    return {entry["epoch"]: entry["val"]["val_dice"] for entry in history if entry["val"]}


def spread(values: list[float]) -> str:
    """Write the mean and the range of values."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
