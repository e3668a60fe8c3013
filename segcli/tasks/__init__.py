"""Tasks, one file each: what a network's raw outputs mean. What every task keeps stands here.

The engine never asks which task it runs; whatever differs between masks, classes and presence is a method here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from segcli.core.arrays import A, sigmoid, softmax
from segcli.core.types import Array, Batch, Mask, Output
from segcli.data.classes.class_list import class_colors, class_names
from segcli.data.classes.colors import RGB
from segcli.data.postprocess import Postprocess, clean
from segcli.data.samples import Sample
from segcli.data.settings import DatasetSpec

if TYPE_CHECKING:
    from torch import Tensor

    from segcli.nn.scored import Scored

__all__ = ["Task"]


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"sigmoid": sigmoid, "softmax": softmax}
"""From logits `(B, K, *S)` to probabilities, by the name in `Task.activation`."""


class Task(ABC):
    """Turns raw outputs into probabilities and probabilities into an answer.

    Args:
        spec: The data set, with its classes.
        offsets: Subtracted from the logit of each class, where classes exclude each other, before it becomes a
            probability (`inference.undo_class_weights`); nothing when empty.
    """

    activation: ClassVar[str]
    """Name of the function from logits to probabilities, as in `model.final_activation`."""
    default_loss: ClassVar[str]
    default_metrics: ClassVar[tuple[str, ...]]
    evaluation_metrics: ClassVar[tuple[str, ...]]
    """What `eval` adds to the metrics of the run."""
    target: ClassVar[Literal["masks", "classes"]] = "masks"
    """`masks`: every channel is a mask of its own, from a threshold on. `classes`: classes exclude each other, and a
    pixel belongs to the most probable one."""
    headline: ClassVar[Literal["mean", "pooled"] | None] = None
    """What every metric reports in place of its own choice: the mean over images, or the value over all pixels."""

    present_only: ClassVar[bool] = False
    """Whether metrics of masks leave out what the truth has nothing of, even where there is but one mask."""

    output: ClassVar[str] = "mask"
    """Name of the network's output, and of the truth in a batch, that metrics and losses are about."""
    has_pixels: ClassVar[bool] = True
    """Whether the answer has pixels, and not one value for the whole image."""
    pool: ClassVar[str | None] = None
    """What a value over the whole data set goes over, in words, in place of the metric's own."""

    single: ClassVar[bool] = False
    """True where there is one mask, and its share of the pixels is all there is to know of it."""

    def __init__(self, spec: DatasetSpec, offsets: Sequence[float] = ()) -> None:
        self.spec = spec
        self.offsets = tuple(offsets)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each channel of the answer, in the order of their indices."""
        return tuple(class_names(self.spec))

    @property
    @abstractmethod
    def outputs(self) -> tuple[Output, ...]:
        """Outputs that the network must give."""

    @property
    def extras(self) -> tuple[Output, ...]:
        """Outputs that are made use of where the network has them."""
        return ()

    @property
    def predicting(self) -> tuple[Output, ...]:
        """Outputs that an answer needs: the task's own, and what is found in the whole image."""
        return tuple(each for each in (*self.outputs, *self.extras) if each.name == self.output or not each.has_pixels)

    @abstractmethod
    def targets(self, batch: Batch) -> Batch:
        """Bring the loader's compact targets into the shape that losses expect, on the batch's device."""

    def probabilities(self, logits: A, presence: A | None = None) -> A:
        """Probabilities `(B, K, *S)` in float32 from logits of the same shape, tensors or NumPy arrays.

        Args:
            logits: Those of `output`.
            presence: What `presence` gave for the same images.
        """
        probs: A = ACTIVATIONS[self.activation](logits)
        return probs

    def presence(self, outputs: dict[str, A]) -> A | None:
        """Whether the network judges each channel of the mask present, `(B, K)` boolean; None where the mask tells."""
        return None

    def cleaned(self, probs: Array, settings: Postprocess, threshold: float) -> Array:
        """Probabilities `(K, *S)` after `inference.postprocess`."""
        return clean(probs, settings, self.classes, exclude=self.target == "classes", threshold=threshold)

    @abstractmethod
    def decide(self, probs: Array, threshold: float) -> Array:
        """Answer `(K, *S) -> (*S)` uint8: 0 and 255 of one mask, or the index of each pixel's class."""

    @abstractmethod
    def answer(self, truth: Array) -> Array:
        """The truth of a sample, `(*S)` as the loader has it, in the form of `decide`."""

    @abstractmethod
    def painted(self, answer: Array) -> Array:
        """An answer in colours, by itself, `(H, W) -> (H, W, 3)` uint8."""

    @abstractmethod
    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Colours for the image below an answer, `(H, W, 3)` uint8, and where they are laid over it, `(H, W)`."""

    @cached_property
    def colors(self) -> list[RGB]:
        """Colour of each class in `tinted`: as stated, or by number."""
        return class_colors(self.spec)

    @abstractmethod
    def shares(self, answer: Array) -> dict[str, float]:
        """Share of the pixels that each class has."""

    # ---- scores and counts

    def scored(
        self,
        probs: "Tensor",
        batch: Batch,
        *,
        threshold: float,
        spacing: tuple[float, ...] | None = None,
        presence: "Tensor | None" = None,
    ) -> "Scored":
        """Put probabilities `(B, K, *S)` beside the truth of their batch, as metrics read them.

        Args:
            probs: Probabilities.
            batch: Targets in the shape that `targets` gives.
            threshold: A pixel belongs to a mask from this probability on, where masks have one.
            spacing: Millimetres between pixels along each axis; None where nobody knows.
            presence: Result of `presence` for the same images.
        """
        from segcli.nn.scored import Scored  # noqa: PLC0415 - a task is read without PyTorch

        return Scored(probs, batch[self.output], batch["valid"], threshold, spacing, presence)

    @property
    def no_counts(self) -> Array:
        """Counts of a case without pixels, in the form of `counts`: background first where there is one mask."""
        return np.zeros(max(self.spec.num_classes, 2), np.int64)

    def counts(self, sample: Sample) -> Array | None:
        """Count the pixels of a case that count, by class; None where its truth could not be read."""
        mask = sample.maps.get(self.output)
        if mask is None:
            return None
        length = len(self.no_counts)
        return np.bincount(mask[sample.valid], minlength=length)[:length]

    def present(self, counts: Array) -> Mask | None:
        """Whether each class has a pixel, by its `counts`, `(K)`; None where every image shows something of each."""
        return None

    def class_shares(self, counts: Array) -> dict[str, float]:
        """Share of each class in the sum of `counts`; NaN without a pixel."""
        shares = counts / counts.sum() if counts.any() else np.full(len(counts), np.nan)
        return dict(zip(self.classes, shares[len(shares) - len(self.classes) :].tolist(), strict=True))
