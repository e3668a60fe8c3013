# python benchmarks/chase_ablation.py data/chase_db1 [--epochs 60] [--rows 0 4]
"""What each part of the recipe `chase_unet_small` brings on the validation images.

DATA holds `images`, `1stHO` and `fov`. Each row leaves one part out of a shortened recipe; all rows see the same number
of pixels. Scores are inside the field of view, pixels pooled, threshold 0.5, of the last checkpoint.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONSTANT = ["training.scheduler=constant", "training.optimizer.learning_rate=0.001"]
# the largest square of an image: quarter turns would change the size of a whole one
WHOLE = ["data.patch_size=[960,960]", "data.patches_per_image=1", "data.batch_size=1"]
BARE = [*CONSTANT, *WHOLE, "training.loss=bce", "data.augmentation.enabled=false", "training.ema.enabled=false"]
LEFT_OUT: dict[str, list[str]] = {
    "nothing": [],
    "schedule (constant 0.001)": CONSTANT,
    "augmentation": ["data.augmentation.enabled=false"],
    "Dice in the loss (BCE alone)": ["training.loss=bce"],
    "running mean of the weights (EMA)": ["training.ema.enabled=false"],
    "patches (960x960 of 960x999)": WHOLE,
    "all of them, and EMA and TTA: a bare U-Net": BARE,
}


def main() -> None:
    """Train and score each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rows", type=int, nargs="*", default=list(range(len(LEFT_OUT))), help="all when left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for row, overrides in (list(LEFT_OUT.items())[number] for number in options.rows):
            for name, scores in trained(Path(folder), options, row, overrides).items():
                print(f"{name:48} F1 {scores['dice']:.4f}  AUC {scores['auc']:.4f}", flush=True)


def trained(folder: Path, options: argparse.Namespace, row: str, overrides: list[str]) -> dict[str, dict[str, float]]:
    """Scores of one row; of the full recipe also without test-time augmentation."""
    # three patches of 320² an image: as many whole images of 960x999 hold 3.1 times the pixels
    epochs = max(round(options.epochs / 3.1), 1) if WHOLE[0] in overrides else options.epochs
    name = f"row{list(LEFT_OUT).index(row)}"
    config = ROOT / "configs/experiments/chase_unet_small.yaml"
    data = [f"dataset={ROOT / 'configs/datasets/chase_db1.yaml'}", f"dataset.paths.root={options.data.resolve()}"]
    length = [f"training.epochs={epochs}", f"training.val_interval={epochs}", "inference.tta=false"]
    segcli(folder, "train", str(config), f"name={name}", *data, *length, *overrides, "--quiet")
    bare = row.startswith("all")
    found = {f"left out: {row}": score(folder, name, "--no-tta" if bare else "--tta")}
    if row == "nothing":
        found["left out: TTA"] = score(folder, name, "--no-tta")
    return found


def score(folder: Path, name: str, *options: str) -> dict[str, float]:
    """Pooled scores of a run's last checkpoint on the validation images."""
    last = f"outputs/experiments/{name}/checkpoints/last.safetensors"
    done: dict[str, Any] = json.loads(segcli(folder, "eval", last, "--split", "val", *options, "--json"))
    pooled: dict[str, float] = done["over_all_pixels"]
    return pooled


def segcli(folder: Path, *words: str) -> str:
    """Run a command and return what it prints."""
    command = [sys.executable, "-m", "segcli", *words]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
