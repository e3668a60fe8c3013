"""Prediction: probabilities of whole images, from one or several networks. This module does not load PyTorch."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Protocol

import numpy as np

from segcli.config.schema import Inference
from segcli.core.scratch import Scratch
from segcli.core.types import Array
from segcli.data.field_of_view import Field
from segcli.data.pipeline import Pipeline
from segcli.data.samples import Geometry, Sample, as_unit, interpolated, pad_end, padded_size
from segcli.datasets import Layout
from segcli.engine.inference.arrays import NumPyArrays
from segcli.engine.inference.joint.sizes import most_at_once
from segcli.engine.inference.prediction import Prediction
from segcli.engine.inference.sliding import Sliding
from segcli.engine.inference.tiles.tile_team import TileTeam
from segcli.engine.inference.views import looks_at, views_of
from segcli.tasks import Task

__all__ = [
    "Candidate",
    "Forward",
    "InMemory",
    "Overrides",
    "Pixels",
    "Predictor",
]

Forward = Callable[[Array], dict[str, Array]]
"""Maps inputs `(B, C, *S)` to the raw outputs in `Task.predicting`, float32, each `(B, K, *S)` or `(B, K)`."""
STEP = {2: 2048, 3: 128}
"""Side length, by the number of axes, of the parts in which an image is read for its statistics."""


class Pixels(Protocol):
    """Reads an image in parts."""

    @property
    def size(self) -> tuple[int, ...]:
        """Return the spatial size as stored."""
        ...

    def read(self, window: tuple[slice, ...]) -> Array:
        """Read pixels `(*window, C)`, converted like the images of the data set."""
        ...


@dataclass(frozen=True)
class Overrides:
    """Holds the user's settings that replace those of the network; None keeps the network's setting."""

    threshold: float | None = None
    tile: int | None = None
    tta: bool | None = None
    device: str | None = None


@dataclass(frozen=True)
class InMemory:
    """Holds an image in memory."""

    image: Array

    @property
    def size(self) -> tuple[int, ...]:
        """Return the spatial size."""
        return self.image.shape[:-1]

    def read(self, window: tuple[slice, ...]) -> Array:
        """Give a view of a part."""
        part: Array = self.image[window]
        return part


@dataclass(frozen=True)
class Candidate:
    """Describes a network before its weights are loaded."""

    source: Path
    """Checkpoint or exported file."""
    layout: type[Layout]
    task: type[Task]
    open: Callable[[], "Predictor"]
    extensions: Sequence[str] = ()
    """File extensions of images that its data set states."""


@dataclass(frozen=True)
class Predictor:
    """Turns stored pixels into probabilities."""

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
    """True if the network itself normalises the pixels and takes `(B, *S, C)`."""
    batch_size: int = 1
    """Tiles per call of the network."""
    joins_small: bool = False
    """True if `forward` takes several small images at once, and gives each the bits that it gives the image alone."""
    members: tuple[Task, ...] = ()
    """Task of each network in `forward`, which concatenates their outputs as channels; empty for a single network."""
    notice: str | None = None
    """Notice for the user about the way in which the network predicts; None if there is nothing to say."""
    team: TileTeam | None = None
    """Processes that share out the tiles of each image; None if this process sees all tiles."""

    def predict(self, sample: Sample, field: Field | None = None) -> Prediction:
        """Predict probabilities at the size of the file, with nothing outside the field of view."""
        pixels, size = self._prepared(sample)
        sliding = self._sliding()
        bands = [band[self.task.output] for _, band in sliding.bands(self._reader(pixels, size), size)]
        logits = bands[0] if len(bands) == 1 else np.concatenate(bands, axis=2)
        geometry = Geometry(stored=sample.size, resized=pixels.size, padded=size)
        return self._cleaned(logits, sliding.highest, geometry, field)

    def at_once(self, size: tuple[int, ...]) -> int:
        """Count the images of a stored size that `predict_together` may be given for one call of the network."""
        seen = self.pipeline.network_size(size)
        grows = math.prod(size) <= math.prod(seen)  # pictures that are large in the file would fill the memory
        return most_at_once(seen) if self.joins_small and grows and self._sliding().sees_whole(seen) else 1

    def predict_together(self, samples: Sequence[Sample], fields: Sequence[Field | None]) -> list[Prediction]:
        """Predict each image as `predict` does, to the bit; they have one size, of which `at_once` allows several."""
        prepared = [self._prepared(sample) for sample in samples]
        whole = tuple(slice(0, length) for length in prepared[0][1])
        images = np.concatenate([self._reader(pixels, size)(whole) for pixels, size in prepared])
        found = self._sliding().each(images)
        return [
            self._cleaned(outputs[self.task.output], highest, Geometry(sample.size, pixels.size, size), field)
            for (outputs, highest), sample, (pixels, size), field in zip(found, samples, prepared, fields, strict=True)
        ]

    def _cleaned(self, logits: Array, highest: dict[str, Array], geometry: Geometry, field: Field | None) -> Prediction:
        """Compute probabilities at the size of the file, with nothing outside the field of view.

        Args:
            logits: Outputs with pixels at the padded size, `(1, K, *S)`.
            highest: Outputs without pixels after all tiles, `(1, K)`.
            geometry: Way back to the stored size.
            field: Field of view; default: the whole image.
        """
        found = self._prediction(geometry.restore(logits, interpolated), highest)
        settings, inside = self.inference, None if field is None else field.inside
        probs = self.task.cleaned(found.probs, settings.postprocess, settings.threshold, inside)
        return replace(found, probs=probs, inside=inside)

    def decided(self, found: Prediction) -> Array:
        """Decide for each pixel as `Task.decide`, with nothing outside the field of view."""
        return self.task.decided(found.probs, self.inference.threshold, found.inside)

    def of_whole(self, sample: Sample) -> Array:
        """Predict the class probabilities `(K)` of a whole image, without tiles."""
        pixels, size = self._prepared(sample)
        image = self._reader(pixels, size)(tuple(slice(0, length) for length in size))
        probs: Array = self.task.probabilities(self._sliding().look(image)[self.task.output])[0]
        return probs

    def help(self, image: Sample | Pixels) -> None:
        """Compute this process's share of the tiles of an image that the first process predicts.

        Args:
            image: The image, in memory for `predict`, or to be read in parts for `bands`.

        Raises:
            DataError: A part of the image cannot be read.
        """
        if isinstance(image, Sample):
            pixels, size = self._prepared(image)
            self._sliding().help(self._reader(pixels, size), size)
            return
        size = padded_size(image.size, self.pipeline.multiple)
        normalise = None if self.takes_stored else self._normaliser(image)
        self._sliding().help(self._reader(image, size, normalise), size)

    def groups(self, size: tuple[int, ...]) -> int:
        """Count the calls of the network for an image of this size, for a single view."""
        return self._sliding().groups(self.pipeline.network_size(size))

    def _prepared(self, sample: Sample) -> tuple[InMemory, tuple[int, ...]]:
        """Prepare an image for the network without padding, and compute its padded size."""
        resized = self.pipeline.resized(sample)
        # statistics per image are those of the whole image
        image = resized.image if self.takes_stored else self.pipeline.normalised(resized.image)
        return InMemory(image), padded_size(resized.size, self.pipeline.multiple)

    def bands(
        self, pixels: Pixels, scratch: Path | None = None, field: Field | None = None
    ) -> Iterator[tuple[slice, Prediction]]:
        """Predict rows with their probabilities, in order, for an image that may not fit in memory.

        Args:
            pixels: The image.
            scratch: Folder for temporary files; default: that of the system.
            field: Field of view, outside of which nothing is predicted; default: the whole image.

        Raises:
            DataError: A part of the image cannot be read.
        """
        for rows, found in self._bands(pixels, scratch):
            inside = None if field is None else field.rows(rows)
            probs = found.probs if inside is None else self.task.emptied(found.probs, inside)
            yield rows, replace(found, probs=probs, inside=inside)

    def _bands(self, pixels: Pixels, scratch: Path | None) -> Iterator[tuple[slice, Prediction]]:
        """Predict rows of the whole image.

        If the network judges which structures are present, this is known only after the last tile; until then, the
        outputs are kept on the disk.
        """
        sliding = self._sliding(scratch)
        logits = self._logits(sliding, pixels)
        first = next(logits)
        if not sliding.highest:
            for rows, values in chain([first], logits):
                yield rows, self._prediction(values, {})
            return
        kept = Scratch((*first[1].shape[:2], *pixels.size), np.float32, scratch)
        with closing(kept):
            places, rest = [], [slice(None)] * (len(pixels.size) - 1)
            for rows, values in chain([first], logits):
                kept.write((..., rows, *rest), values)
                places.append(rows)
            for rows in places:
                yield rows, self._prediction(kept.read((..., rows, *rest)), sliding.highest)

    def _logits(self, sliding: Sliding[Array], pixels: Pixels) -> Iterator[tuple[slice, Array]]:
        """Compute rows with their raw output `(1, K, rows, *rest)`, without the padding."""
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

    def _prediction(self, logits: Array, of_whole: dict[str, Array]) -> Prediction:
        """Compute probabilities from the raw outputs of the networks, concatenated as channels.

        Args:
            logits: Outputs with pixels, `(1, K, *S)`.
            of_whole: Outputs without pixels after all tiles, `(1, K)`; they tell which structures are present.
        """
        each = {name: values.reshape(-1, len(self.task.classes)) for name, values in of_whole.items()}
        present = self.task.presence({name: _joint(values) for name, values in each.items()})
        certainty = {name: values.mean(axis=0) for name, values in self.task.certainty(each).items()}
        tasks = self.members or (self.task,)
        parts = np.split(logits, len(tasks), axis=1)
        every = np.concatenate([task.probabilities(part, present) for task, part in zip(tasks, parts, strict=True)])
        probs = every.mean(axis=0) if len(every) > 1 else every[0]
        judged = None if present is None else present[0]
        return Prediction(probs, every, self.task.target == "classes", judged, certainty)

    @property
    def looks(self) -> str | None:
        """Tell how often the network sees each image; None if once."""
        return looks_at(self.layout.ndim, self.inference.tta, self.inference.scales)

    @property
    def can_stream(self) -> bool:
        """Tell whether an image can be read in parts: no step needs the whole image."""
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
            team=self.team,
        )

    @staticmethod
    def _reader(
        pixels: Pixels, size: tuple[int, ...], normalise: Callable[[Array], Array] | None = None
    ) -> Callable[[tuple[slice, ...]], Array]:
        """Make a function that reads windows `(1, C, *window)` of the padded image for the network."""

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
    """Combine the presence logits of N networks for a whole image, `(N, K) -> (1, K)`.

    The result is above 0 where the mean of the probabilities is above 0.5, because `tanh(x / 2) = 2 p - 1`. For a
    single network, even a tiny logit keeps its sign.
    """
    joint: Array = np.tanh(outputs.astype(np.float64) / 2).sum(axis=0, keepdims=True)
    return joint
