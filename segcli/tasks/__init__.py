"""Tasks, one file each: how a network's raw outputs are read. This file holds the contract of every task.

The engine never asks which task it runs; all that differs between masks, classes and presence is a method here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from segcli.core.arrays import A, sigmoid, softmax
from segcli.core.types import Array, Batch, Mask, Output
from segcli.data.classes.class_list import class_colors, class_names
from segcli.data.classes.colors import RGB
from segcli.data.classes.counts import class_counts
from segcli.data.classes.mistakes import MistakeColors, mistake_colors
from segcli.data.postprocess import Postprocess, clean
from segcli.data.samples import Sample
from segcli.data.settings import DatasetSpec

if TYPE_CHECKING:
    from torch import Tensor

    from segcli.nn.scored import Scored

__all__ = ["Task"]


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"sigmoid": sigmoid, "softmax": softmax}
"""Functions from logits `(B, K, *S)` to probabilities, by the name in `Task.activation`."""


class Task(ABC):
    """Turns raw outputs into probabilities and probabilities into an answer.

    Args:
        spec: The data set, with its classes.
        offsets: With classes that exclude each other: numbers subtracted from the logits of the classes before the
            softmax (`inference.undo_class_weights`); nothing when empty.
        calibrated: Outputs that the loss of the run trains to be probabilities; others of `extras` mean nothing.
    """

    activation: ClassVar[str]
    """Name of the function from logits to probabilities, as in `model.final_activation`."""
    default_loss: ClassVar[str]
    default_metrics: ClassVar[tuple[str, ...]]
    evaluation_metrics: ClassVar[tuple[str, ...]]
    """Metrics that `eval` adds to the metrics of the run."""
    target: ClassVar[Literal["masks", "classes"]] = "masks"
    """`masks`: every channel is a separate mask, thresholded by itself. `classes`: classes exclude each other, and a
    pixel belongs to the most probable class."""
    headline: ClassVar[Literal["mean", "pooled"] | None] = None
    """Value that every metric reports instead of its own default: mean over images, or pooled over all pixels."""

    present_only: ClassVar[bool] = False
    """True if mask metrics leave out an image whose mask is empty in the truth, also with a single mask."""

    output: ClassVar[str] = "mask"
    """Name of the network's output, and of the truth in a batch, that metrics and losses compare."""
    has_pixels: ClassVar[bool] = True
    """True if the answer is a mask, False if it is one value for the whole image."""
    pool: ClassVar[str | None] = None
    """Name of the units that a pooled value counts, such as `all cases`, instead of the metric's own."""

    single: ClassVar[bool] = False
    """True if the answer is a single mask, whose share is the foreground share."""

    def __init__(self, spec: DatasetSpec, offsets: Sequence[float] = (), calibrated: Collection[str] = ()) -> None:
        self.spec = spec
        self.offsets = tuple(offsets)
        self.calibrated = tuple(calibrated)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the channels of the answer, in the order of their indices."""
        return tuple(class_names(self.spec))

    @property
    @abstractmethod
    def outputs(self) -> tuple[Output, ...]:
        """List the outputs that the network must give."""

    @property
    def extras(self) -> tuple[Output, ...]:
        """List optional outputs, which are used if the network has them."""
        return ()

    @property
    def predicting(self) -> tuple[Output, ...]:
        """List the outputs that prediction needs: the task's own, and those of the whole image."""
        return tuple(each for each in (*self.outputs, *self.extras) if each.name == self.output or not each.has_pixels)

    @abstractmethod
    def targets(self, batch: Batch) -> Batch:
        """Convert the loader's compact targets to the shape that losses expect, on the batch's device."""

    def probabilities(self, logits: A, presence: A | None = None) -> A:
        """Compute probabilities `(B, K, *S)` in float32 from logits of the same shape, tensors or NumPy arrays.

        Args:
            logits: Logits of `output`.
            presence: Result of `presence` for the same images.
        """
        probs: A = ACTIVATIONS[self.activation](logits)
        return probs

    def presence(self, outputs: dict[str, A]) -> A | None:
        """Predict presence for each channel of the mask, `(B, K)` boolean; None if only the mask decides."""
        return None

    def certainty(self, outputs: dict[str, A]) -> dict[str, A]:
        """Compute numbers about each presence, `(B, K)` from 0 to 1, by name; empty if the network gives none.

        `probability` is that of presence, `confidence` that the prediction of presence is right.
        """
        return {}

    def cleaned(self, probs: Array, settings: Postprocess, threshold: float, inside: Mask | None = None) -> Array:
        """Apply `inference.postprocess` to probabilities `(K, *S)`, within the field of view `inside` `(*S)`."""
        probs = probs if inside is None else self.emptied(probs, inside)
        probs = clean(probs, settings, self.classes, exclude=self.target == "classes", threshold=threshold)
        return probs if inside is None else self.emptied(probs, inside)

    def emptied(self, probs: A, inside: A) -> A:
        """Leave nothing outside the field of view: probabilities `(K, *S)` are 0 where `inside` `(*S)` is False."""
        return probs * inside

    def decided(self, probs: Array, threshold: float, inside: Mask | None) -> Array:
        """Decide as `decide`, and leave the pixels outside the field of view empty, whatever the threshold."""
        answer = self.decide(probs, threshold)
        if inside is None:
            return answer
        kept: Array = answer * inside.reshape(*inside.shape, *[1] * (answer.ndim - inside.ndim))
        return kept

    @abstractmethod
    def decide(self, probs: Array, threshold: float) -> Array:
        """Decide for each pixel, `(K, *S) -> (*S)` uint8: 0 and 255 for one mask, or the index of the class."""

    @abstractmethod
    def answer(self, truth: Array) -> Array:
        """Convert the truth of a sample, `(*S)` from the loader, to the format that `decide` returns."""

    @abstractmethod
    def painted(self, answer: Array) -> Array:
        """Draw an answer in colours, without the image, `(H, W) -> (H, W, 3)` uint8."""

    def pictures(self, answer: Array) -> dict[str, Callable[[], Array]]:
        """Give the codings in which a mask of classes can be written, by name; none if there is only one.

        Each is drawn when it is called: `color` `(H, W, 3)` and `index` `(H, W)`, uint8.
        """
        return {}

    @abstractmethod
    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Return the overlay colours of an answer, `(H, W, 3)` uint8, and the pixels that they cover, `(H, W)`."""

    @cached_property
    def colors(self) -> list[RGB]:
        """Colour of each class in `tinted`: from the data set, or by class number."""
        return class_colors(self.spec)

    @cached_property
    def mistakes(self) -> MistakeColors:
        """Colours of mistakes in pictures; no class has one of them."""
        return mistake_colors(self.colors, exclusive=self.target == "classes")

    def legend(self, shares: Mapping[str, float]) -> tuple[list[str], list[RGB]]:
        """Return names and colours of the classes that an answer shows.

        Args:
            shares: Share of the pixels of each class.
        """
        shown = [(name, color) for name, color in zip(self.classes, self.colors, strict=True) if shares[name] > 0]
        return [name for name, _ in shown], [color for _, color in shown]

    @abstractmethod
    def shares(self, answer: Array) -> dict[str, float]:
        """Compute the share of pixels of each class."""

    # ---- scores and counts

    def scored(
        self,
        probs: "Tensor",
        batch: Batch,
        *,
        threshold: float,
        spacing: tuple[float, ...] | None = None,
        presence: "Tensor | None" = None,
        certainty: "Mapping[str, Tensor] | None" = None,
    ) -> "Scored":
        """Combine probabilities `(B, K, *S)` and truth of a batch for the metrics.

        Args:
            probs: Probabilities.
            batch: Batch with targets in the shape of `targets`.
            threshold: A pixel belongs to a mask if its probability is at least this; ignored for exclusive classes.
            spacing: Pixel or voxel spacing along each axis in millimetres; None if unknown.
            presence: Result of `presence` for the same images.
            certainty: Result of `certainty` for the same images.
        """
        from segcli.nn.scored import Scored  # noqa: PLC0415 - a task is read without PyTorch

        return Scored(probs, batch[self.output], self.scored_pixels(batch), threshold, spacing, presence, certainty)

    @staticmethod
    def scored_pixels(batch: Batch) -> "Tensor":
        """Return the pixels that count in the metrics, `(B, 1, *S)` boolean: those of the loss, or fewer."""
        return batch["scored"].bool().unsqueeze(1) if "scored" in batch else batch["valid"]

    @property
    def no_counts(self) -> Array:
        """Return the counts of a case without pixels, in the form of `counts`: background first for a single mask."""
        return np.zeros(max(self.spec.num_classes, 2), np.int64)

    @property
    def names(self) -> list[str]:
        """List the names of the numbers in a mask, or of the masks that may overlap."""
        return ["background", *self.classes] if self.single else list(self.classes)

    def counts(self, sample: Sample) -> Array | None:
        """Count the valid pixels of each class; None if the truth could not be read."""
        mask = sample.maps.get(self.output)
        if mask is None:
            return None
        valid = sample.maps.get("valid")
        return class_counts(mask, None if valid is None else valid > 0, len(self.no_counts))

    def present(self, counts: Array) -> Mask | None:
        """Tell from `counts` which classes have a pixel, `(K)`; None if classes cannot be absent in this task."""
        return None

    def class_shares(self, counts: Array) -> dict[str, float]:
        """Compute the share of each class from `counts`; NaN without a pixel."""
        shares = counts / counts.sum() if counts.any() else np.full(len(counts), np.nan)
        return dict(zip(self.classes, shares[len(shares) - len(self.classes) :].tolist(), strict=True))
