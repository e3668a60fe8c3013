"""One class for a whole image."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array, Batch, Mask
from segcli.data.class_list import class_colors, class_names
from segcli.data.colors import RGB
from segcli.tasks import Task

__all__ = ["Classification"]


class Classification(Task):
    """Softmax over the classes; an image belongs to the most probable one, of equals to the first."""

    activation = "softmax"
    default_loss = "cross_entropy"
    default_metrics = ("accuracy", "f1")
    evaluation_metrics = ("accuracy", "top2", "f1", "precision", "recall", "auc")
    target = "classes"
    headline = "pooled"
    pool = "all cases"
    output = "class"
    has_pixels = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes, in the order of their indices."""
        return tuple(class_names(self.spec))

    @cached_property
    def colors(self) -> list[RGB]:
        """As stated, or by number."""
        return class_colors(self.spec)

    @property
    def outputs(self) -> dict[str, int]:
        """A logit for each class."""
        return {"class": self.spec.num_classes}

    def targets(self, batch: Batch) -> Batch:
        """Class indices `(B)` int64; each image counts, `(B, 1)`."""
        index = batch["class"].long()
        return {**batch, "class": index, "valid": torch.ones_like(index, dtype=torch.bool).unsqueeze(1)}

    def probabilities(self, logits: Tensor, presence: Tensor | None = None) -> Tensor:
        """Softmax."""
        return logits.float().softmax(dim=1)

    def decide(self, probs: Array, threshold: float) -> Array:
        """Index of the class, `(K) -> ()`; there is no threshold."""
        return np.asarray(probs.argmax(axis=0), np.uint8)

    def answer(self, truth: Array) -> Array:
        """The index is the answer."""
        return truth

    def painted(self, answer: Array) -> Array:
        """The colour of the class."""
        painted: Array = np.array(self.colors, np.uint8)[answer]
        return painted

    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """The colour of the class."""
        return self.painted(answer), np.ones(answer.shape, bool)

    def shares(self, answer: Array) -> dict[str, float]:
        """1 for the class, 0 for the others."""
        return {name: float(index == int(answer)) for index, name in enumerate(self.classes)}
