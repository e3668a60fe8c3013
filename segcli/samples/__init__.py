"""Generated data sets, one file per kind (`segcli data sample KIND`).

A maker draws one example from a seed; this file writes the folders and the data-set YAML that `segcli train` reads. The
images are for learning the tool and for tests; they prove nothing about accuracy.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from segcli.core.files import write_text
from segcli.files.png import PNG

__all__ = ["Example", "Files", "SampleMaker", "SampleSet"]

Pixels = npt.NDArray[np.uint8]
Files = dict[str, "Pixels | str"]
"""Images and texts by their path in the folder of the data set."""


@dataclass(frozen=True)
class Example:
    """Generated image with its reference mask.

    Shape:
        `image` is `(H, W, 3)` in RGB or `(H, W)` in grey, `label` and `fov` are `(H, W)` with 0 and 255.
    """

    image: Pixels
    label: Pixels
    fov: Pixels | None = None
    """Field of view; pixels outside it are not scored."""


class SampleSet(ABC):
    """Contract of a generated data set; each file of this room implements it."""

    default_size: ClassVar[int] = 256
    """Default height of an image in pixels."""
    default_counts: ClassVar[dict[str, int]]
    """Number of images per split."""

    def shape(self, size: int) -> tuple[int, ...]:
        """Return the size of an image along its axes; square unless a kind overrides this method."""
        return size, size

    def write(self, folder: Path, seed: int, size: int) -> Iterator[None]:
        """Write the files of one image after the other.

        Raises:
            DataError: A file cannot be written.
        """
        for files in self.pictures(seed, size):
            for path, content in files.items():
                if isinstance(content, str):
                    write_text(folder / path, content)
                else:
                    PNG.write(folder / path, content, synced=False)
            yield

    def pictures(self, seed: int, size: int) -> Iterator[Files]:
        """Yield the files of each image, one image after the other, for data sets of image files."""
        raise NotImplementedError

    @abstractmethod
    def dataset_yaml(self, folder: Path, size: int) -> str:
        """Return the text of the data-set YAML for images written to `folder`."""


class SampleMaker(SampleSet):
    """A data set of independent images in one folder per split."""

    default_counts: ClassVar[dict[str, int]] = {"train": 24, "val": 6, "test": 8}
    """Number of images per split."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int) -> Example:
        """Draw one example of `size` x `size` pixels; everything random comes from `rng`."""

    def example(self, seed: int, split: str, index: int, size: int) -> Example:
        """Draw the example of this seed, split and index; it does not depend on other examples."""
        stream = np.random.SeedSequence([seed, *split.encode(), index])
        return self.draw(np.random.default_rng(stream), size)

    def pictures(self, seed: int, size: int) -> Iterator[Files]:
        """Yield image, mask and field of view of each example."""
        for split, count in self.default_counts.items():
            for index in range(count):
                example = self.example(seed, split, index, size)
                name = f"{index + 1:03d}.png"
                files: Files = {f"{split}/image/{name}": example.image, f"{split}/label/{name}": example.label}
                if example.fov is not None:
                    files[f"{split}/fov/{name}"] = example.fov
                yield files
