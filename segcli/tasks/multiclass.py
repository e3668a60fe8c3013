"""Multi-class segmentation: each pixel belongs to exactly one class."""

from segcli.core.types import Batch
from segcli.tasks._exclusive import Exclusive

__all__ = ["Multiclass"]


class Multiclass(Exclusive):
    """Multi-class segmentation: one class for each pixel."""

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
        """Convert class indices to `(B, *S)` int64 and valid pixels to `(B, 1, *S)` boolean."""
        return {**batch, "mask": batch["mask"].long(), "valid": batch["valid"].bool().unsqueeze(1)}
