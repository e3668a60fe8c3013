"""Base of tasks whose classes exclude each other."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from segcli.core.arrays import A, by_channel, softmax
from segcli.core.types import Array, Batch, Mask, Output
from segcli.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

    from segcli.nn.scored import Scored

__all__ = ["Exclusive"]


class Exclusive(Task):
    """Softmax over the classes; the most probable class is the answer, the first one in a tie."""

    activation = "softmax"
    default_loss = "cross_entropy"
    target = "classes"
    headline = "pooled"

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The channels of the mask, one for each class."""
        return (Output(self.output, self.spec.num_classes, self.has_pixels),)

    def probabilities(self, logits: A, presence: A | None = None) -> A:
        """Compute the softmax of the logits minus the task's offsets."""
        return softmax(logits - by_channel(self.offsets, logits) if self.offsets else logits)

    def emptied(self, probs: A, inside: A) -> A:
        """Leave nothing outside the field of view: its pixels belong to the first class."""
        kept = probs * inside
        kept[0] += ~inside
        return kept

    def decide(self, probs: Array, threshold: float) -> Array:
        """Choose the most probable class, `(K, *S) -> (*S)`; the threshold is ignored."""
        return np.asarray(probs.argmax(axis=0), np.uint8)

    def answer(self, truth: Array) -> Array:
        """Return the class indices unchanged."""
        return truth

    def painted(self, answer: Array) -> Array:
        """Draw each class in its colour."""
        painted: Array = np.array(self.colors, np.uint8)[answer]
        return painted

    def pictures(self, answer: Array) -> dict[str, Callable[[], Array]]:
        """Give the colours and the numbers of the classes."""
        return {"color": lambda: self.painted(answer), "index": lambda: answer}

    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Return the colour of each class; it covers every pixel."""
        return self.painted(answer), np.ones(answer.shape, bool)

    def shares(self, answer: Array) -> dict[str, float]:
        """Compute the share of pixels of each class; for image classification, 1 for the predicted class."""
        counts = np.bincount(answer.ravel(), minlength=len(self.classes))
        return dict(zip(self.classes, (counts / answer.size).tolist(), strict=True))

    def scored(
        self,
        probs: "Tensor",
        batch: Batch,
        *,
        threshold: float,
        spacing: tuple[float, ...] | None = None,
        **_: Any,
    ) -> "Scored":
        """Combine probabilities and truth; the most probable class is found, and the threshold is ignored."""
        from segcli.nn.scored import ScoredClasses  # noqa: PLC0415 - a task is read without PyTorch

        return ScoredClasses(probs, batch[self.output], self.scored_pixels(batch), spacing)
