"""Probabilities of whole images, by one or several networks; loads no PyTorch itself."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from segcli.config.schema import Inference
from segcli.core.errors import ConfigError
from segcli.core.scratch import Scratch
from segcli.core.types import Array, Mask
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Geometry, Sample, as_unit, interpolated, pad_end, padded_size
from segcli.datasets import Layout
from segcli.engine.inference.arrays import NumPyArrays
from segcli.engine.inference.sliding import Sliding
from segcli.engine.inference.views import views_of
from segcli.tasks import Task

__all__ = [
    "Candidate",
    "Forward",
    "InMemory",
    "Overrides",
    "Pixels",
    "Prediction",
    "Predictor",
    "ensemble",
]

Forward = Callable[[Array], dict[str, Array]]
"""From inputs `(B, C, *S)` to raw outputs in float32, each `(B, K, *S)` or `(B, K)`: those in `Task.predicting`."""
STEP = {2: 2048, 3: 128}
"""Pixels along each axis of the parts in which an image is read for its statistics, by the number of axes."""


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
class Overrides:
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
        """Give a view of a part."""
        part: Array = self.image[window]
        return part


@dataclass(frozen=True)
class Prediction:
    """What is found in an image, or in rows of it."""

    probs: Array
    """`(K, *S)`; of several networks the mean."""
    every: Array
    """`(N, K, *S)` of each of N networks, before anything is done to masks."""
    exclude: bool
    """Whether classes exclude each other."""
    present: Mask | None = None
    """`(K)`, whether each structure was judged present; None where its mask tells."""

    @property
    def uncertainty(self) -> Array:
        """Uncertainty `(*S)` from 0 to 1.

        Of one network: entropy in proportion to the largest that is possible. Of several: twice the standard deviation
        of their probabilities, in the class where they differ most.
        """
        if len(self.every) > 1:
            spread: Array = 2.0 * self.every.std(axis=0).max(axis=0)
        else:
            spread = _entropy(self.every[0], exclude=self.exclude)
        return np.clip(spread, 0.0, 1.0)


@dataclass(frozen=True)
class Candidate:
    """A network that is asked for, of which only what it is for is known so far."""

    source: Path
    """Checkpoint or exported file."""
    layout: type[Layout]
    task: type[Task]
    open: Callable[[], "Predictor"]
    extensions: Sequence[str] = ()
    """Ends of the names of images that its data set states."""


@dataclass(frozen=True)
class Predictor:
    """Everything from the stored pixels to the probabilities."""

    name: str
    """Name of the run."""
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
    members: tuple[Task, ...] = ()
    """Task of each network in `forward`, which gives their outputs one after the other as channels; when empty, there
    is one, of `task`."""

    def predict(self, sample: Sample) -> Prediction:
        """Probabilities at the size of the file."""
        pixels, size = self._prepared(sample)
        sliding = self._sliding()
        bands = [band[self.task.output] for _, band in sliding.bands(self._reader(pixels, size), size)]
        geometry = Geometry(stored=sample.size, resized=pixels.size, padded=size)
        logits = geometry.restore(np.concatenate(bands, axis=2), interpolated)
        found = self._prediction(logits, self._present(sliding))
        settings = self.inference
        return replace(found, probs=self.task.cleaned(found.probs, settings.postprocess, settings.threshold))

    def of_whole(self, sample: Sample) -> Array:
        """Probabilities `(K)` of the classes of a whole image, which the network takes at once."""
        pixels, size = self._prepared(sample)
        image = self._reader(pixels, size)(tuple(slice(0, length) for length in size))
        probs: Array = self.task.probabilities(self._sliding().look(image)[self.task.output])[0]
        return probs

    def _prepared(self, sample: Sample) -> tuple[InMemory, tuple[int, ...]]:
        """An image as the network takes it but for the padding, and its size with that."""
        resized = self.pipeline.resized(sample)
        # statistics of an image by itself are those of the whole of it
        image = resized.image if self.takes_stored else self.pipeline.normalised(resized.image)
        return InMemory(image), padded_size(resized.size, self.pipeline.multiple)

    def bands(self, pixels: Pixels, scratch: Path | None = None) -> Iterator[tuple[slice, Prediction]]:
        """Rows with their probabilities, in order, for an image that need not fit in memory.

        Where the network judges what is present, which is known when it has seen everything, what it gave lies on the
        disk until then.

        Args:
            pixels: The image.
            scratch: Folder for what is not held in memory; the system's own when left out.

        Raises:
            DataError: A part of it cannot be read.
        """
        sliding = self._sliding(scratch)
        logits = self._logits(sliding, pixels)
        first = next(logits)
        if not sliding.highest:
            for rows, values in chain([first], logits):
                yield rows, self._prediction(values, None)
            return
        kept = Scratch((*first[1].shape[:2], *pixels.size), np.float32, scratch)
        with closing(kept):
            places, rest = [], [slice(None)] * (len(pixels.size) - 1)
            for rows, values in chain([first], logits):
                kept.write((..., rows, *rest), values)
                places.append(rows)
            present = self._present(sliding)
            for rows in places:
                yield rows, self._prediction(kept.read((..., rows, *rest)), present)

    def _logits(self, sliding: Sliding[Array], pixels: Pixels) -> Iterator[tuple[slice, Array]]:
        """Rows with their raw output `(1, K, rows, *rest)`, without the padding."""
        size = padded_size(pixels.size, self.pipeline.multiple)
        rest = tuple(slice(0, length) for length in pixels.size[1:])
        normalise = None if self.takes_stored else self._normaliser(pixels)
        for rows, outputs in sliding.bands(self._reader(pixels, size, normalise), size):
            stop = min(rows.stop, pixels.size[0])
            if stop > rows.start:
                inside = (slice(None), slice(None), slice(0, stop - rows.start), *rest)
                yield slice(rows.start, stop), outputs[self.task.output][inside]

    def _normaliser(self, pixels: Pixels) -> Callable[[Array], Array]:
        """Prepare to normalise parts of an image; what that takes of the whole is found by reading it once."""
        if not self.pipeline.settings.preprocessing.by_image:
            return self.pipeline.normalised
        step = STEP[len(pixels.size)]
        corners = product(*(range(0, length, step) for length in pixels.size))
        windows = (
            tuple(slice(at, min(at + step, length)) for at, length in zip(corner, pixels.size, strict=True))
            for corner in corners
        )
        scale = self.pipeline.scale_of(as_unit(pixels.read(window)) for window in windows)
        return lambda part: self.pipeline.normalised(part, scale)

    def _present(self, sliding: Sliding[Array]) -> Mask | None:
        """Judge what is present in an image whose tiles were all seen, `(1, K)`."""
        classes = len(self.task.classes)
        outputs = {name: _joint(values.reshape(-1, classes)) for name, values in sliding.highest.items()}
        return self.task.presence(outputs)

    def _prediction(self, logits: Array, present: Mask | None) -> Prediction:
        """Probabilities from the raw output `(1, K, *S)` of each network, one after the other as channels."""
        tasks = self.members or (self.task,)
        parts = np.split(logits, len(tasks), axis=1)
        every = np.concatenate([task.probabilities(part, present) for task, part in zip(tasks, parts, strict=True)])
        probs = every.mean(axis=0) if len(every) > 1 else every[0]
        return Prediction(probs, every, self.task.target == "classes", None if present is None else present[0])

    @property
    def can_stream(self) -> bool:
        """Whether an image may be read in parts: nothing is done to it that needs the whole of it."""
        return self.pipeline.image_size is None and not self.inference.postprocess.changes(self.task.classes)

    def _sliding(self, scratch: Path | None = None) -> Sliding[Array]:
        settings = self.inference
        return Sliding(
            self.forward,
            NumPyArrays(scratch),
            self.task.predicting,
            tile=None if settings.tile is None else tuple(settings.tile),
            overlap=settings.overlap,
            multiple=self.pipeline.multiple,
            batch_size=self.batch_size,
            views=views_of(self.layout.ndim, settings.tta),
            scales=settings.scales,
        )

    @staticmethod
    def _reader(
        pixels: Pixels, size: tuple[int, ...], normalise: Callable[[Array], Array] | None = None
    ) -> Callable[[tuple[slice, ...]], Array]:
        """Read windows of the padded image as the network takes them, `(1, C, *window)`."""

        def read(window: tuple[slice, ...]) -> Array:
            inside = tuple(
                slice(part.start, min(part.stop, length)) for part, length in zip(window, pixels.size, strict=True)
            )
            part = pixels.read(inside)
            part = part if normalise is None else normalise(part)
            part = pad_end(part, tuple(piece.stop - piece.start for piece in window), mirror=True)
            return np.ascontiguousarray(np.moveaxis(part, -1, 0))[None]

        return read


def _joint(outputs: Array) -> Array:
    """Join what N networks say of a whole image, `(N, K) -> (1, K)`.

    The sum is above 0 where the mean of their probabilities is above a half; of a single network it keeps the sign
    however small, for `tanh(x / 2)` is twice that by which a probability exceeds a half.
    """
    joint: Array = np.tanh(outputs.astype(np.float64) / 2).sum(axis=0, keepdims=True)
    return joint


def _entropy(probs: Array, *, exclude: bool) -> Array:
    """Entropy of exclusive classes, or of the least certain of several masks; 1 where nothing is known."""
    inside = np.clip(probs, 1e-7, 1.0 - 1e-7)
    if exclude:
        entropy: Array = -(inside * np.log(inside)).sum(axis=0) / np.float32(np.log(len(probs)))
        return entropy
    single = -(inside * np.log(inside) + (1.0 - inside) * np.log(1.0 - inside)) / np.float32(np.log(2.0))
    most: Array = single.max(axis=0)
    return most


def ensemble(members: Sequence[Predictor]) -> Predictor:
    """Join several networks into one, which gives the mean of their probabilities.

    Threshold, tiles and the way images are read are those of the first.

    Raises:
        ConfigError: They see images, or name classes, in different ways.
    """
    first = members[0]
    if len(members) == 1:
        return first
    for other in members[1:]:
        for what, of in AGREE.items():
            if of(other) != of(first):
                raise ConfigError(
                    f"`{first.source}` and `{other.source}` differ in {what} ({of(first)} and {of(other)})",
                    hint="an ensemble needs networks that were trained on images and classes of one kind",
                )

    def forward(images: Array) -> dict[str, Array]:
        outputs = [member.forward(images) for member in members]
        names = dict.fromkeys(name for given in outputs for name in given)
        return {name: np.concatenate([given[name] for given in outputs if name in given], axis=1) for name in names}

    pipeline = copy.copy(first.pipeline)
    pipeline.multiple = math.lcm(*(member.pipeline.multiple for member in members))
    batch_size = min(member.batch_size for member in members)
    name = "+".join(dict.fromkeys(member.name for member in members))
    tasks = tuple(member.task for member in members)
    return replace(first, name=name, pipeline=pipeline, forward=forward, batch_size=batch_size, members=tasks)


AGREE: dict[str, Callable[[Predictor], Any]] = {
    "the task": lambda member: type(member.task).__name__,
    "the classes": lambda member: list(member.task.classes),
    "the channels of images": lambda member: len(member.pipeline.mean),
    "`image_size`": lambda member: member.pipeline.image_size,
    "`data.preprocessing.normalize`": lambda member: member.pipeline.settings.preprocessing.normalize,
    "`mean`": lambda member: member.pipeline.mean.tolist(),
    "`std`": lambda member: member.pipeline.std.tolist(),
    "the number of axes": lambda member: member.layout.ndim,
    "who normalises the image": lambda member: "the file" if member.takes_stored else "segcli",
}
"""What networks of an ensemble share."""
