"""One mask: each pixel is foreground or background."""

from functools import cached_property

import numpy as np

from segcli.core.types import Array, Batch, Mask, Output
from segcli.data.classes.colors import RGB
from segcli.data.classes.painting import FOREGROUND
from segcli.tasks import Task

__all__ = ["Binary"]


class Binary(Task):
    """Sigmoid on one channel; foreground from the threshold on."""

    activation = "sigmoid"
    single = True
    default_loss = "dice"
    default_metrics = ("dice", "iou")
    evaluation_metrics = (
        "dice",
        "iou",
        "precision",
        "recall",
        "specificity",
        "accuracy",
        "balanced_accuracy",
        "mcc",
        "auc",
        "average_precision",
        "cldice",
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The foreground."""
        return (self.spec.classes[0].name if self.spec.classes else "foreground",)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One mask of one channel."""
        return (Output(self.output, 1),)

    def targets(self, batch: Batch) -> Batch:
        """Masks and valid pixels as `(B, 1, *S)` boolean."""
        return {**batch, "mask": batch["mask"].bool().unsqueeze(1), "valid": batch["valid"].bool().unsqueeze(1)}

    def decide(self, probs: Array, threshold: float) -> Array:
        """255 in the foreground, 0 elsewhere."""
        return np.where(probs[0] >= threshold, 255, 0).astype(np.uint8)

    def answer(self, truth: Array) -> Array:
        """255 in the foreground, 0 elsewhere."""
        return np.where(truth > 0, 255, 0).astype(np.uint8)

    def painted(self, answer: Array) -> Array:
        """White on black."""
        return np.repeat(answer[:, :, None], 3, axis=2)

    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """The foreground in one colour."""
        return np.broadcast_to(np.array(FOREGROUND, np.uint8), (*answer.shape, 3)), answer > 0

    @cached_property
    def colors(self) -> list[RGB]:
        """Of the foreground."""
        return [FOREGROUND]

    def shares(self, answer: Array) -> dict[str, float]:
        """Of the foreground."""
        return {self.classes[0]: float((answer > 0).mean())}
