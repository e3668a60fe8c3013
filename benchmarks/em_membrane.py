"""Trains on real electron microscopy (ISBI 2012) and writes the picture of the README.

Run: python benchmarks/em_membrane.py DATA [--device cpu]

DATA holds `train`, `val` and `test`, each with `image` and `label`. Prints the time of training and the table of
`segcli eval`, and writes `benchmarks/em_membrane.png`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from segcli.data.images import read_image, read_labels
from segcli.report.overlays import compare

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Train, evaluate, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    root = HERE.parent
    with tempfile.TemporaryDirectory() as folder:

        def segcli(*words: str) -> None:
            subprocess.run([sys.executable, "-m", "segcli", *words], cwd=folder, check=True)

        started = time.perf_counter()
        segcli(
            "train",
            str(root / "configs/experiments/em_membrane.yaml"),
            f"dataset={root / 'configs/datasets/em_membrane.yaml'}",
            f"dataset.paths.root={options.data.resolve()}",
            f"device={options.device}",
        )
        print(f"trained in {time.perf_counter() - started:.0f} s", flush=True)
        segcli("eval", "em_membrane")
        draw(options.data, Path(folder) / "outputs/tests/em_membrane/predictions")


def draw(data: Path, predictions: Path) -> None:
    """Image, truth, prediction and errors of one test slice, 320 pixels a panel."""
    mask = sorted(predictions.glob("*.png"))[0]
    window = (slice(96, 416), slice(96, 416))
    image = read_image(data / "test/image" / mask.name)[window]
    truth = read_labels(data / "test/label" / mask.name)[window] > 0
    picture = compare(image, read_labels(mask)[window] > 0, truth)
    target = HERE / "em_membrane.png"
    cv2.imwrite(str(target), np.ascontiguousarray(picture[:, :, ::-1]))
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
