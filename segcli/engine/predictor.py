"""Probabilities of whole images, by one or several networks; loads no PyTorch itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from segcli.config.schema import DatasetSection, Inference
from segcli.core.errors import ConfigError, DataError
from segcli.core.registry import TASKS
from segcli.core.types import Array
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Geometry, Sample, pad_end, padded_size
from segcli.data.settings import DataSettings
from segcli.datasets import Layout
from segcli.engine.portable import open_portable
from segcli.engine.sliding import Forward, Sliding
from segcli.tasks import Task

__all__ = ["Pixels", "Predictor", "Wanted", "of_exported"]


class Pixels(Protocol):
    """An image whose parts can be read one by one."""

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size as stored."""
        ...

    def read(self, window: tuple[slice, ...]) -> Array:
        """Pixels `(*window, C)`, converted as those of the data set."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What a user sets instead of what the network brings along; None keeps that."""

    threshold: float | None = None
    tile: int | None = None
    tta: bool | None = None


@dataclass(frozen=True)
class InMemory:
    """An image that is read already."""

    image: Array

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size."""
        return self.image.shape[:-1]

    def read(self, window: tuple[slice, ...]) -> Array:
        """A view."""
        part: Array = self.image[window]
        return part


@dataclass(frozen=True)
class Predictor:
    """Everything from the stored pixels to the probabilities."""

    name: str
    """Of the run."""
    source: Path
    """Checkpoint or exported file."""
    layout: Layout
    pipeline: Pipeline
    task: Task
    inference: Inference
    forward: Forward
    takes_stored: bool = False
    """Whether the network normalises the pixels itself and takes `(B, *S, C)`."""
    batch_size: int = 1
    """Tiles per call."""

    def probabilities(self, sample: Sample) -> Array:
        """Probabilities `(K, *S)` at the size of the file."""
        resized = self.pipeline.resized(sample)
        # statistics of an image by itself are those of the whole of it
        image = resized.image if self.takes_stored else self.pipeline.normalised(resized.image)
        size = padded_size(resized.size, self.pipeline.multiple)
        logits = np.concatenate(
            [band for _, band in self._sliding().bands(self._reader(InMemory(image), size, ready=True), size)], axis=1
        )
        geometry = Geometry(stored=sample.size, resized=resized.size, padded=size)
        return self.task.probabilities_of(geometry.restore_array(logits))

    def bands(self, pixels: Pixels) -> Iterator[tuple[slice, Array]]:
        """Rows with their probabilities `(K, rows, *rest)`, in order, for an image that need not fit in memory.

        Raises:
            DataError: A part of it cannot be read.
        """
        size = padded_size(pixels.size, self.pipeline.multiple)
        rest = tuple(slice(0, length) for length in pixels.size[1:])
        for rows, logits in self._sliding().bands(self._reader(pixels, size, ready=self.takes_stored), size):
            stop = min(rows.stop, pixels.size[0])
            if stop > rows.start:
                kept = logits[(slice(None), slice(0, stop - rows.start), *rest)]
                yield slice(rows.start, stop), self.task.probabilities_of(kept)

    @property
    def can_stream(self) -> bool:
        """Whether an image may be read in parts: it is neither resized nor normalised by its own statistics."""
        return self.pipeline.image_size is None and self.pipeline.settings.preprocessing.normalize != "per_image"

    def _sliding(self) -> Sliding:
        settings = self.inference
        return Sliding(
            self.forward,
            tile=None if settings.tile is None else tuple(settings.tile),
            overlap=settings.overlap,
            multiple=self.pipeline.multiple,
            batch_size=self.batch_size,
            tta=settings.tta,
        )

    def _reader(self, pixels: Pixels, size: tuple[int, ...], *, ready: bool) -> Callable[[tuple[slice, ...]], Array]:
        """Reads windows of the padded image as the network takes them, channels first."""

        def read(window: tuple[slice, ...]) -> Array:
            inside = tuple(
                slice(part.start, min(part.stop, length)) for part, length in zip(window, pixels.size, strict=True)
            )
            part = pixels.read(inside)
            part = part if ready else self.pipeline.normalised(part)
            part = pad_end(part, tuple(piece.stop - piece.start for piece in window), mirror=True)
            return np.ascontiguousarray(np.moveaxis(part, -1, 0))

        return read


def of_exported(path: Path, wanted: Wanted, *, threads: int = 0) -> Predictor:
    """Predictor of an ONNX file, which runs without PyTorch.

    Args:
        path: The file.
        wanted: Instead of what it says; test-time augmentation is off unless wanted.
        threads: Of onnxruntime; 0 takes OMP_NUM_THREADS, or leaves the choice to it.

    Raises:
        ConfigError: It is a file of PyTorch, or a package is missing.
        CheckpointError: It cannot be opened.
    """
    if path.suffix.lower() in (".torchscript", ".pt2"):
        raise ConfigError(
            f"`{path}` can carry code, which segcli does not run",
            hint="`segcli export --format onnx` writes a file to predict with",
        )
    network = open_portable(path, threads=threads)
    described = network.description
    dataset = DatasetSection.model_validate(described.dataset)
    layout: Layout = dataset.build()
    task: Task = TASKS.load(described.task)(dataset.spec)
    settings = DataSettings.model_validate(described.preprocessing)
    tile = described.tile if wanted.tile is None else [wanted.tile] * described.ndim
    inference = Inference(
        threshold=described.threshold if wanted.threshold is None else wanted.threshold,
        tile=tile,
        overlap=described.overlap,
        tta=bool(wanted.tta),
    )

    def forward(images: Array) -> Array:
        if described.baked:
            images = np.ascontiguousarray(np.moveaxis(images, 1, -1))
            if images.dtype.name != described.input_dtype:
                raise DataError(
                    f"`{path}` takes {described.input_dtype} images, this one has {images.dtype}",
                    hint="convert it, or export without `--bake`",
                )
        return network(images)["mask"]

    return Predictor(
        name=described.run,
        source=path,
        layout=layout,
        pipeline=Pipeline(settings, dataset.spec, stride=described.multiple),
        task=task,
        inference=inference,
        forward=forward,
        takes_stored=described.baked,
    )
