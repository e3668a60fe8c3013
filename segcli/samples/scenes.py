"""Generated street scenes: clips from a driving car, with colour-coded masks.

Each clip is a small world (houses, trees, lamps, cars, people) that a camera drives through. Image and mask are drawn
from the same polygons, from far to near. So the mask is exact, and neighbouring frames are consistent.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segcli.core.files import typed
from segcli.core.types import Array
from segcli.samples import Files, SampleSet
from segcli.samples._street import make_world
from segcli.samples._street_painter import CLASSES, OVERSAMPLING, Painter, label_of, photographed

__all__ = ["Scenes"]

CLIPS = {"train": ("Video_000", "Video_001", "Video_002"), "val": ("Video_003",), "test": ("Video_004",)}
FRAMES = 12


class Scenes(SampleSet):
    """Clips of a drive through a street: thirteen classes, one of them void, in the layout `sequences`."""

    default_size = 192
    default_counts = {split: FRAMES * len(clips) for split, clips in CLIPS.items()}

    def shape(self, size: int) -> tuple[int, int]:
        """Return height and width of a frame of height `size`, with an aspect ratio of 4:3."""
        return size, round(size * 4 / 3)

    def pictures(self, seed: int, size: int) -> Iterator[Files]:
        """Yield frames and masks of all clips, with the table of classes."""
        rows = [f"{index},{name},{r},{g},{b}\n" for index, (name, (r, g, b)) in enumerate(CLASSES.items())]
        files: Files = {"classes.csv": "id,name,r,g,b\n" + "".join(rows)}
        palette = np.array(list(CLASSES.values()), dtype=np.uint8)
        for clip in (name for clips in CLIPS.values() for name in clips):
            for number in range(FRAMES):
                image, label = self.frame(seed, clip, number, size)
                stem = f"{clip}/{number + 1:04d}.png"
                yield files | {f"Images/{stem}": image, f"Labels/{stem}": palette[label]}
                files = {}

    def frame(self, seed: int, clip: str, number: int, size: int) -> tuple[Array, Array]:
        """Draw image `(H, W, 3)` and class indices `(H, W)` of one frame; they depend on the arguments only."""
        world = make_world(np.random.default_rng(np.random.SeedSequence([seed, *clip.encode()])))
        height, width = self.shape(size)
        painter = Painter(world, height * OVERSAMPLING, width * OVERSAMPLING, number)
        painter.paint()
        noise = np.random.default_rng(np.random.SeedSequence([seed, *clip.encode(), number]))
        return photographed(noise, painter, (height, width)), label_of(painter.label)

    def dataset_yaml(self, folder: Path, size: int) -> str:
        """Return the text of the data-set YAML beside the clips."""
        height, width = self.shape(size)
        sides = "".join(f"  {split}: [{', '.join(clips)}]\n" for split, clips in CLIPS.items())
        return (
            f"# segcli data check {typed(folder / 'dataset.yaml')}\n"
            f"# Generated street scenes of {width}x{height} pixels, made by `segcli data sample scenes`.\n"
            "name: scenes_sample\n"
            "format: sequences\n"
            "paths: {root: .}\n"
            "classes_file: classes.csv\n"
            "ignore: [void]\n"
            f"split:\n{sides}"
            "num_channels: 3\n"
            "mean: [0.404, 0.420, 0.422]\n"
            "std: [0.160, 0.162, 0.189]\n"
        )
