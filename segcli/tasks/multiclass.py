"""Many classes: each pixel belongs to exactly one of them."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from segcli.core.types import Array, Batch, Mask
from segcli.data.class_list import class_colors, class_names
from segcli.data.colors import RGB
from segcli.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Multiclass"]


class Multiclass(Task):
    """Softmax over the channels; a pixel belongs to the most probable class, of equals to the first."""

    activation = "softmax"
    default_loss = "cross_entropy"
    default_metrics = ("mean_iou", "pixel_accuracy")
    evaluation_metrics = (
        "mean_iou",
        "frequency_weighted_iou",
        "pixel_accuracy",
        "class_accuracy",
        "iou",
        "dice",
        "precision",
        "recall",
    )
    target = "classes"
    headline = "pooled"

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that count, in the order of their indices."""
        return tuple(class_names(self.spec))

    @cached_property
    def colors(self) -> list[RGB]:
        """As stated, or by number."""
        return class_colors(self.spec)

    @property
    def outputs(self) -> dict[str, int]:
        """One channel for each class."""
        return {"mask": self.spec.num_classes}

    def targets(self, batch: Batch) -> Batch:
        """Class indices `(B, *S)` int64, and valid pixels as `(B, 1, *S)` boolean."""
        return {**batch, "mask": batch["mask"].long(), "valid": batch["valid"].bool().unsqueeze(1)}

    def probabilities(self, logits: "Tensor", presence: "Tensor | None" = None) -> "Tensor":
        """Softmax."""
        return logits.float().softmax(dim=1)

    def decide(self, probs: Array, threshold: float) -> Array:
        """Index of each pixel's class; there is no threshold."""
        index: Array = probs.argmax(axis=0).astype(np.uint8)
        return index

    def answer(self, truth: Array) -> Array:
        """Class indices are the answer."""
        return truth

    def painted(self, answer: Array) -> Array:
        """Each class in its colour."""
        painted: Array = np.array(self.colors, np.uint8)[answer]
        return painted

    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Each class in its colour, everywhere."""
        return self.painted(answer), np.ones(answer.shape, bool)

    def shares(self, answer: Array) -> dict[str, float]:
        """Of each class."""
        counts = np.bincount(answer.ravel(), minlength=len(self.classes))
        return dict(zip(self.classes, (counts / answer.size).tolist(), strict=True))
