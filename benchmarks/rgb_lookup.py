"""Speed of turning RGB masks into class indices, on one core.

Run: python benchmarks/rgb_lookup.py [MASK.png ...] [--rounds 9]

`table` is what segcli does (`segcli/data/classes/colors.py`); `loop` is what a user writes, `(mask == color).all(-1)`
for each class. Without files, it takes blocks of twelve colours, and pictures of noise, for which no cache helps.
Megabytes are those of the mask, three bytes a pixel; decoding the file is not part of it.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from segcli.core.types import Array
from segcli.data.classes.colors import UNKNOWN, ColorTable
from segcli.data.images import read_image

SIZE = (720, 960)


def loop(mask: Array, colors: Array) -> Array:
    """One comparison of the whole mask per class."""
    found = np.full(mask.shape[:2], UNKNOWN, np.uint8)
    for index, color in enumerate(colors):
        found[(mask == color).all(-1)] = index
    return found


def megabytes_per_second(call: Callable[[Array], Array], mask: Array, rounds: int) -> float:
    """Of the fastest round."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call(mask)
        seconds.append(time.perf_counter() - start)
    return mask.nbytes / min(seconds) / 1e6


def pictures(files: list[Path]) -> dict[str, Array]:
    """Masks by name."""
    if files:
        return {path.name: read_image(path) for path in files}
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (12, 3), dtype=np.uint8)
    blocks = np.kron(rng.integers(0, 12, (SIZE[0] // 16, SIZE[1] // 16)), np.ones((16, 16), int))
    return {"12 classes": colors[blocks], "noise": rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)}


def main() -> None:
    """Print both speeds for each picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    print(f"{'mask':32} {'pixels':>10} {'table MB/s':>11} {'loop MB/s':>10} {'faster':>7}")
    for name, mask in pictures(options.files).items():
        colors = np.unique(mask.reshape(-1, 3), axis=0)[:12]
        table = ColorTable([tuple(map(int, color)) for color in colors])
        np.testing.assert_array_equal(table.indices(mask), loop(mask, colors))
        fast = megabytes_per_second(table.indices, mask, options.rounds)
        slow = megabytes_per_second(lambda mask, colors=colors: loop(mask, colors), mask, options.rounds)
        print(f"{name:32} {mask.shape[0] * mask.shape[1]:>10,} {fast:>11.0f} {slow:>10.1f} {fast / slow:>6.0f}x")


if __name__ == "__main__":
    main()
