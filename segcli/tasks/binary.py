"""Binary segmentation: each pixel is foreground or background."""

from functools import cached_property

import numpy as np

from segcli.core.types import Array, Batch, Mask, Output
from segcli.data.classes.colors import RGB
from segcli.data.classes.painting import FOREGROUND
from segcli.tasks import Task

__all__ = ["Binary"]


class Binary(Task):
    """Sigmoid on one channel; a pixel is foreground if its probability reaches the threshold."""

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
        """Name of the foreground class."""
        return (self.spec.classes[0].name if self.spec.classes else "foreground",)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The mask with its single channel."""
        return (Output(self.output, 1),)

    def targets(self, batch: Batch) -> Batch:
        """Convert masks and valid pixels to `(B, 1, *S)` boolean."""
        return {**batch, "mask": batch["mask"].bool().unsqueeze(1), "valid": batch["valid"].bool().unsqueeze(1)}

    def decide(self, probs: Array, threshold: float) -> Array:
        """Return 255 in the foreground and 0 elsewhere."""
        mask: Array = (probs[0] >= threshold) * np.uint8(255)
        return mask

    def answer(self, truth: Array) -> Array:
        """Return 255 in the foreground and 0 elsewhere."""
        return np.where(truth > 0, 255, 0).astype(np.uint8)

    def painted(self, answer: Array) -> Array:
        """Draw the foreground in white on black."""
        return np.repeat(answer[:, :, None], 3, axis=2)

    def tinted(self, answer: Array) -> tuple[Array, Mask]:
        """Return one colour and the foreground that it covers."""
        return np.broadcast_to(np.array(FOREGROUND, np.uint8), (*answer.shape, 3)), answer > 0

    @cached_property
    def colors(self) -> list[RGB]:
        """Colour of the foreground."""
        return [FOREGROUND]

    def shares(self, answer: Array) -> dict[str, float]:
        """Compute the share of foreground pixels."""
        return {self.classes[0]: float((answer > 0).mean())}
