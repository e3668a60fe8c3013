# python benchmarks/field_of_view.py --chase data/chase_db1 --hrf data/hrf
"""Compares estimated fields of view with the masks of CHASE_DB1 and HRF, image by image.

CHASE holds `images` and `fov`, HRF `images` and `mask`. Masks and photographs are read with Pillow. Prints IoU and Dice
of each photograph, the share of its pixels that are wrongly inside and wrongly outside, and mean and smallest values.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from segcli.data.field_of_view import estimated

MASKS = {"chase": ("fov", "{}.png"), "hrf": ("mask", "{}_mask.tif")}
"""Folder and name of the mask of a photograph."""


def main() -> None:
    """Estimate, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in MASKS:
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    for name, (folder, pattern) in MASKS.items():
        root = getattr(options, name)
        if root is not None:
            compare(name, sorted((root / "images").iterdir()), root / folder, pattern)


def compare(name: str, photographs: list[Path], folder: Path, pattern: str) -> None:
    """Print a row for each photograph, and the summary."""
    values = []
    for path in photographs:
        image = np.asarray(Image.open(path).convert("RGB"))
        truth = np.asarray(Image.open(folder / pattern.format(path.stem)).convert("L")) > 127
        started = time.perf_counter()
        field = estimated(image.shape[:2], lambda window, image=image: image[window])
        elapsed_s = time.perf_counter() - started
        found = np.ones_like(truth) if field is None else field.inside
        both, either = (found & truth).sum(), (found | truth).sum()
        iou, dice = both / either, 2 * both / (found.sum() + truth.sum())
        values.append((iou, dice))
        print(
            f"{path.name:14} IoU {iou:.4f}  Dice {dice:.4f}  too much {(found & ~truth).mean():.2%}  "
            f"too little {(~found & truth).mean():.2%}  {elapsed_s:.2f} s{'  not found' if field is None else ''}"
        )
    (mean_iou, mean_dice), (min_iou, min_dice) = np.mean(values, axis=0), np.min(values, axis=0)
    print(f"{name}: {len(values)} photographs, IoU mean {mean_iou:.4f}, smallest {min_iou:.4f}; ", end="")
    print(f"Dice mean {mean_dice:.4f}, smallest {min_dice:.4f}\n")


if __name__ == "__main__":
    main()
