"""Base of tasks whose classes exclude each other."""

from typing import TYPE_CHECKING

import numpy as np

from segcli.core.types import Array, Mask
from segcli.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Exclusive"]


class Exclusive(Task):
    """Softmax over the classes; the most probable class is the answer, the first one in a tie."""

    activation = "softmax"
    default_loss = "cross_entropy"
    target = "classes"
    headline = "pooled"

    @property
    def outputs(self) -> dict[str, int]:
        """The channels of the mask, one for each class."""
        return {self.output: self.spec.num_classes}

    def probabilities(self, logits: "Tensor", presence: "Tensor | None" = None) -> "Tensor":
        """Compute the softmax of the logits minus the task's offsets."""
        logits = logits.float()
        if self.offsets:
            logits = logits - logits.new_tensor(self.offsets).view(-1, *[1] * (logits.ndim - 2))
        return logits.softmax(dim=1)

    def probabilities_of(self, logits: Array) -> Array:
        """Do the same as `probabilities` for one image `(K, *S)`, without PyTorch."""
        if self.offsets:
            logits = logits - np.array(self.offsets, np.float32).reshape(-1, *[1] * (logits.ndim - 1))
        return super().probabilities_of(logits)

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

    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Return the colour of each class; it covers every pixel."""
        return self.painted(answer), np.ones(answer.shape, bool)

    def shares(self, answer: Array) -> dict[str, float]:
        """Compute the share of pixels of each class; for image classification, 1 for the predicted class."""
        counts = np.bincount(answer.ravel(), minlength=len(self.classes))
        return dict(zip(self.classes, (counts / answer.size).tolist(), strict=True))
