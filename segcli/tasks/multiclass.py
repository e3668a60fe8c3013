"""Many classes: each pixel belongs to exactly one of them."""

from segcli.core.types import Batch
from segcli.tasks._exclusive import Exclusive

__all__ = ["Multiclass"]


class Multiclass(Exclusive):
    """A class for each pixel."""

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

    def targets(self, batch: Batch) -> Batch:
        """Class indices `(B, *S)` int64, and valid pixels as `(B, 1, *S)` boolean."""
        return {**batch, "mask": batch["mask"].long(), "valid": batch["valid"].bool().unsqueeze(1)}
