# python benchmarks/recipe.py em_membrane data/em_membrane
"""Trains a shipped recipe on real data, scores it, and draws the picture of the documentation.

NAME is a file in `configs/experiments`; DATA is the folder of its data set, laid out as the data-set file says. Prints
the time of training, in seconds by the clock and of all processors, and the table of `segcli eval`, and writes
`docs/images/NAME.png`: image, truth, prediction, and of one mask errors (red missed, blue false) of one scored image.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import yaml

from segcli.config.load import load_run
from segcli.config.schema import Run
from segcli.core.types import Array
from segcli.data.classes.lettering import legend_below
from segcli.data.images import read_image, read_labels
from segcli.data.samples import Sample
from segcli.report.overlays import compare
from segcli.tasks.multiclass import Multiclass

ROOT = Path(__file__).resolve().parents[1]
SIDE = 320
"""Pixels of a panel, which shows the middle of the image: half of its shorter side, or this many pixels."""


def main() -> None:
    """Train, evaluate, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("data", type=Path)
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE")
    options = parser.parse_args()
    config = ROOT / f"configs/experiments/{options.name}.yaml"
    dataset = ROOT / yaml.safe_load(config.read_text())["dataset"]
    words = [f"dataset={dataset}", f"dataset.paths.root={options.data.resolve()}", *options.overrides]
    with tempfile.TemporaryDirectory() as folder:

        def segcli(*arguments: str) -> None:
            subprocess.run([sys.executable, "-m", "segcli", *arguments], cwd=folder, check=True)

        started = time.perf_counter()
        segcli("train", str(config), *words)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        elapsed_s, processor_s = time.perf_counter() - started, used.ru_utime + used.ru_stime
        print(f"trained in {elapsed_s:.0f} s, {processor_s:.0f} s of all processors", flush=True)
        segcli("eval", options.name)
        draw(config, words, Path(folder) / "outputs/tests")


def draw(config: Path, words: list[str], results: Path) -> None:
    """Panels of the first image that was scored."""
    run = load_run(config, words)
    layout = run.dataset.build()
    split = "test" if layout.has("test") else "val"
    case = layout.cases(split)[0]
    sample = layout.read(case)
    (mask,) = results.glob(f"*/predictions/{case.id}.png")
    if run.dataset.num_classes > 1:
        picture = of_classes(run, sample, read_image(mask))
    else:
        side = max(SIDE, min(sample.size) // 2)
        window = tuple(slice(max(length - side, 0) // 2, max(length - side, 0) // 2 + side) for length in sample.size)
        picture = compare(sample.image[window], read_labels(mask)[window] > 0, sample.maps["mask"][window] > 0)
        height = min(SIDE, picture.shape[0])
        size = (round(picture.shape[1] * height / picture.shape[0]), height)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    target = ROOT / f"docs/images/{config.stem}.png"
    cv2.imwrite(str(target), np.ascontiguousarray(picture[:, :, ::-1]))
    print(f"wrote {target}")


def of_classes(run: Run, sample: Sample, found: Array) -> Array:
    """Image, truth (black where it does not count) and prediction of a data set with masks painted in colours."""
    task = Multiclass(run.dataset.spec)
    truth = task.painted(sample.maps["mask"]) * sample.maps["valid"][:, :, None]
    gap = np.full((len(found), 8, 3), 255, np.uint8)
    return legend_below(np.concatenate([sample.image, gap, truth, gap, found], axis=1), task.classes, task.colors)


if __name__ == "__main__":
    main()
