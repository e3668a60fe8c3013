# python benchmarks/bookkeeping.py
"""Processor seconds of the history and of the checkpoints' headers over a training, against writing all anew.

Run: python benchmarks/bookkeeping.py [--epochs 125 250 500] [--classes 1 12] [--cases 2000]

`anew` converts `metrics_history.yaml` and the JSON header of each checkpoint as a whole after each epoch; `kept`, as
the trainer does, converts what is new. Both write the same bytes, which is checked. The slope is the exponent of the
epochs in the seconds of the two longest trainings: 1 is linear, 2 is quadratic.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.files import plain, write_text, yaml_text
from segcli.core.header_text import HeaderText
from segcli.core.once import Once

METRICS = ("mean_iou", "iou", "dice", "precision", "recall")


def entry(epoch: int, classes: int, rng: np.random.Generator) -> dict[str, Any]:
    """Make the entry of an epoch, as the trainer makes it."""
    losses = ("loss", "loss_cross_entropy", "loss_dice", *METRICS)
    made: dict[str, Any] = {
        "epoch": epoch,
        "train": {name: float(rng.random()) for name in losses},
        "val": {f"val_{name}": float(rng.random()) for name in losses},
        "learning_rate": float(rng.random()),
    }
    if classes > 1:
        names = [f"class {index}" for index in range(classes)]
        made["val_per_class"] = {metric: {name: float(rng.random()) for name in names} for metric in METRICS}
    return made


def dataset(cases: int) -> dict[str, Any]:
    """Make the fingerprint of so many cases."""
    return {"train": {"count": cases, "cases": {f"image_{index:06}": f"{index:032x}" for index in range(cases)}}}


class Anew:
    """Converts everything after each epoch."""

    def yaml(self, history: list[dict[str, Any]]) -> str:
        """Convert the history."""
        return yaml_text(history)

    def header(self, header: dict[str, Any]) -> str:
        """Convert the header."""
        return json.dumps(_finite(plain(header)), separators=(",", ":"), allow_nan=False)


class Kept:
    """Converts what is new, as the trainer does."""

    def __init__(self) -> None:
        self.text = Once(lambda entry: yaml_text([entry]))
        self.headers = HeaderText()

    def yaml(self, history: list[dict[str, Any]]) -> str:
        """Convert the history."""
        return self.text.joined(history)

    def header(self, header: dict[str, Any]) -> str:
        """Convert the header."""
        return self.headers.of(header)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {"$float": repr(value)} if isinstance(value, float) and not math.isfinite(value) else value


def seconds(way: Any, epochs: int, classes: int, data: dict[str, Any], folder: Path) -> tuple[float, str, str]:
    """Return the processor seconds of the books of a training, and their last texts."""
    rng, history = np.random.default_rng(0), []
    text = header = ""
    began = time.process_time()
    for epoch in range(1, epochs + 1):
        history.append(entry(epoch, classes, rng))
        text, header = way.yaml(history), way.header({"history": history, "dataset": data})
        write_text(folder / "metrics_history.yaml", text)
    return time.process_time() - began, text, header


def slope(by_epochs: dict[int, float]) -> float:
    """Return the exponent of the epochs in the seconds, of the two longest trainings."""
    shorter, longer = sorted(by_epochs)[-2:]
    return math.log(by_epochs[longer] / by_epochs[shorter]) / math.log(longer / shorter)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="+", default=[125, 250, 500])
    parser.add_argument("--classes", type=int, nargs="+", default=[1, 12])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--only-new", action="store_true", help="do not time the old way, which takes minutes")
    options = parser.parse_args()
    ways: dict[str, Callable[[], Any]] = {"kept": Kept} if options.only_new else {"anew": Anew, "kept": Kept}
    print("| classes | way |", *(f"{epochs} epochs |" for epochs in options.epochs), "slope |")
    print("|---|---|", *("---|" for _ in options.epochs), "---|", sep="")
    data = dataset(options.cases)
    with tempfile.TemporaryDirectory() as folder:
        for classes in options.classes:
            taken: dict[str, dict[int, float]] = {name: {} for name in ways}
            for epochs in options.epochs:
                texts = set()
                for name, way in ways.items():
                    taken[name][epochs], *written = seconds(way(), epochs, classes, data, Path(folder))
                    texts.add(tuple(written))
                assert len(texts) == 1, "the two ways differ"
            for name, by_epochs in taken.items():
                cells = " | ".join(f"{by_epochs[epochs]:.2f} s" for epochs in options.epochs)
                print(f"| {classes} | {name} | {cells} | {slope(by_epochs):.2f} |", flush=True)


if __name__ == "__main__":
    main()
