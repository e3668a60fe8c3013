"""Top-2 accuracy."""

import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.metrics import Metric, Scored, ScoredClasses, ratio

__all__ = ["Top2"]

ALIASES = ("top2_accuracy",)


class Top2(Metric):
    """Share of the images (or pixels) whose class is one of the two most probable."""

    needs_classes = True
    least_classes = 3  # of two, the true class is always among the two most probable
    by_frequency = True

    def statistics(self, scored: Scored) -> Tensor:
        """Count for each true class the pixels (or images) that are right, and all of them, `(B, K, 2)`."""
        assert isinstance(scored, ScoredClasses)
        best_two = scored.probs.topk(min(2, scored.probs.shape[1]), dim=1).indices
        right = (best_two == scored.true_class.unsqueeze(1)).any(dim=1, keepdim=True)
        true = scored.truth & scored.valid
        counts = [each.reshape(*each.shape[:2], -1).sum(2) for each in (true & right, true)]
        return torch.stack(counts, dim=2)

    def values(self, statistics: Array) -> Array:
        """Divide right by all; NaN for a class without a pixel."""
        return ratio(statistics[..., 0].astype(float), statistics[..., 1].astype(float))

    def true_pixels(self, statistics: Array) -> Array:
        """Return the number of true pixels (or images)."""
        pixels: Array = statistics[..., 1]
        return pixels
