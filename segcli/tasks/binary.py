"""One mask: each pixel is foreground or background."""

from typing import TYPE_CHECKING

import numpy as np

from segcli.core.types import Array, Batch
from segcli.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Binary"]


class Binary(Task):
    """Sigmoid on one channel; foreground from the threshold on."""

    activation = "sigmoid"
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
    classes = ("foreground",)

    @property
    def outputs(self) -> dict[str, int]:
        """One mask of one channel."""
        return {"mask": 1}

    def targets(self, batch: Batch) -> Batch:
        """Masks and valid pixels as `(B, 1, *S)` boolean."""
        return {**batch, "mask": batch["mask"].bool().unsqueeze(1), "valid": batch["valid"].bool().unsqueeze(1)}

    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Sigmoid."""
        return logits.float().sigmoid()

    def decide(self, probs: Array, threshold: float) -> Array:
        """255 in the foreground, 0 elsewhere."""
        return np.where(probs[0] >= threshold, 255, 0).astype(np.uint8)
