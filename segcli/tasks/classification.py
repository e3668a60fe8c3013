"""Image classification: one class for a whole image."""

import numpy as np

from segcli.core.types import Array, Batch
from segcli.data.samples import Sample
from segcli.tasks._exclusive import Exclusive

__all__ = ["Classification"]


class Classification(Exclusive):
    """Image classification: one class for each image or volume."""

    default_metrics = ("accuracy", "f1")
    evaluation_metrics = ("accuracy", "top2", "f1", "precision", "recall", "auc")
    pool = "all cases"
    output = "class"
    has_pixels = False

    def targets(self, batch: Batch) -> Batch:
        """Convert class indices to `(B)` int64 and mark every image as valid, `(B, 1)`."""
        index = batch["class"].long()
        return {**batch, "class": index, "valid": index.unsqueeze(1) >= 0}

    def counts(self, sample: Sample) -> Array | None:
        """Count 1 for the class of the case."""
        return np.bincount([int(sample.facts[self.output])], minlength=self.spec.num_classes)
