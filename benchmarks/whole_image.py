# python benchmarks/whole_image.py outputs/tests/RUN_val/predictions data/chase_db1/1stHO data/chase_db1/fov
"""Scores masks of vessels inside the field of view and over the whole image, as half of the papers do.

MASKS are the files that `segcli eval` or `segcli predict` wrote, TRUTH and FOV the folders with the masks of the
observer and of the field of view; the files of an image begin with the same stem. Prints precision, recall and F1 over
all pixels of both scopes. It reads the files with Pillow and counts with NumPy alone: nothing of segcli is used.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("masks", "truth", "fov"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    counts = {"inside the field": np.zeros(3), "whole image": np.zeros(3)}
    outside = pixels = 0
    for path in sorted(options.masks.glob("*.png")):
        found = read(path)
        truth, field = (read(beside(folder, path.stem)) for folder in (options.truth, options.fov))
        for scope, counted in (("inside the field", field), ("whole image", np.ones_like(field))):
            counts[scope] += [
                (found & truth & counted).sum(),
                (found & ~truth & counted).sum(),
                (~found & truth & counted).sum(),
            ]
        outside, pixels = outside + (found & ~field).sum(), pixels + found.sum()
    print(f"{outside / max(pixels, 1):.1%} of the marked pixels lie outside the field")
    for scope, (right, false, missed) in counts.items():
        precision, recall = right / (right + false), right / (right + missed)
        f1 = 2 * right / (2 * right + false + missed)
        print(f"{scope:17} precision {precision:.4f}  recall {recall:.4f}  F1 {f1:.4f}")


def read(path: Path) -> np.ndarray:
    """Read a mask."""
    values = np.asarray(Image.open(path).convert("L"))
    return values > (127 if values.max() > 1 else 0)


def beside(folder: Path, stem: str) -> Path:
    """Find the file of an image in a folder."""
    (path,) = [path for path in folder.iterdir() if path.stem == stem or path.stem.startswith(f"{stem}_")]
    return path


if __name__ == "__main__":
    main()
