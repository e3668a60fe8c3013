"""Tasks, one file each: how a network's raw outputs are read. This file holds the contract of every task.

The engine never asks which task it runs; all that differs between masks, classes and presence is a method here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from segcli.core.types import Array, Batch, Mask, Outputs
from segcli.data.classes.class_list import class_colors, class_names
from segcli.data.classes.colors import RGB
from segcli.data.settings import DatasetSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Task"]


def _sigmoid(logits: Array) -> Array:
    """Sigmoid, computed on the side that does not overflow."""
    small = np.exp(-np.abs(logits))
    probs: Array = np.where(logits >= 0, 1, small) / (1 + small)
    return probs


def _softmax(logits: Array) -> Array:
    exponentials: Array = np.exp(logits - logits.max(axis=0, keepdims=True))
    exponentials /= exponentials.sum(axis=0, keepdims=True)
    return exponentials


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"sigmoid": _sigmoid, "softmax": _softmax}
"""Functions from logits `(K, *S)` to probabilities, by the name in `Task.activation`."""


class Task(ABC):
    """Turns raw outputs into probabilities and probabilities into an answer.

    Args:
        spec: The data set, with its classes.
        offsets: With classes that exclude each other: numbers subtracted from the logits of the classes before the
            softmax (`inference.undo_class_weights`); nothing when empty.
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

    def __init__(self, spec: DatasetSpec, offsets: Sequence[float] = ()) -> None:
        self.spec = spec
        self.offsets = tuple(offsets)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the channels of the answer, in the order of their indices."""
        return tuple(class_names(self.spec))

    @property
    @abstractmethod
    def outputs(self) -> dict[str, int]:
        """Number of channels of each output that the network must give."""

    @property
    def extras(self) -> dict[str, int]:
        """Number of channels of each optional output, which is used if the network has it."""
        return {}

    @abstractmethod
    def targets(self, batch: Batch) -> Batch:
        """Convert the loader's compact targets to the shape that losses expect, on the batch's device."""

    @abstractmethod
    def probabilities(self, logits: "Tensor", presence: "Tensor | None" = None) -> "Tensor":
        """Compute probabilities `(B, K, *S)` in float32 from logits of the same shape.

        Args:
            logits: Logits of the mask.
            presence: Result of `presence` for the same images.
        """

    def presence(self, outputs: Outputs) -> "Tensor | None":
        """Predict presence for each channel of the mask, `(B, K)` boolean; None if only the mask decides."""
        return None

    def probabilities_of(self, logits: Array) -> Array:
        """Do the same as `probabilities` for one image `(K, *S)`, without PyTorch."""
        return ACTIVATIONS[self.activation](np.asarray(logits, np.float32))

    def presence_of(self, outputs: dict[str, Array]) -> "Mask | None":
        """Do the same as `presence` for one image, without PyTorch; several networks vote, weighted by confidence.

        Args:
            outputs: Outputs without pixels, `(N, K)` from N networks.

        Returns:
            `(K)`, or None.
        """
        return None

    @abstractmethod
    def decide(self, probs: Array, threshold: float) -> Array:
        """Decide for each pixel, `(K, *S) -> (*S)` uint8: 0 and 255 for one mask, or the index of the class."""

    @abstractmethod
    def answer(self, truth: Array) -> Array:
        """Convert the truth of a sample, `(*S)` from the loader, to the format that `decide` returns."""

    @abstractmethod
    def painted(self, answer: Array) -> Array:
        """Draw an answer in colours, without the image, `(H, W) -> (H, W, 3)` uint8."""

    @abstractmethod
    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Return the overlay colours of an answer, `(H, W, 3)` uint8, and the pixels that they cover, `(H, W)`."""

    @cached_property
    def colors(self) -> list[RGB]:
        """Colour of each class in `tinted`: from the data set, or by class number."""
        return class_colors(self.spec)

    @abstractmethod
    def shares(self, answer: Array) -> dict[str, float]:
        """Compute the share of pixels of each class."""
