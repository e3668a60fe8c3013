"""Top-2 accuracy."""

import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.metrics import Metric, Scored, ScoredClasses, ratio

__all__ = ["Top2"]


class Top2(Metric):
    """Share of the images (or pixels) whose class is one of the two most probable."""

    needs_classes = True
    by_frequency = True

    def statistics(self, scored: Scored) -> Tensor:
        """Of each true class, how many are right and how many there are, `(B, K, 2)`."""
        assert isinstance(scored, ScoredClasses)
        likely = scored.probs.topk(min(2, scored.probs.shape[1]), dim=1).indices
        right = (likely == scored.true_class.unsqueeze(1)).any(dim=1, keepdim=True)
        true = scored.truth & scored.valid
        counts = [each.reshape(*each.shape[:2], -1).sum(2) for each in (true & right, true)]
        return torch.stack(counts, dim=2)

    def values(self, statistics: Array) -> Array:
        """Quotient."""
        return ratio(statistics[..., 0].astype(float), statistics[..., 1].astype(float))

    def true_pixels(self, statistics: Array) -> Array:
        """How many there are."""
        pixels: Array = statistics[..., 1]
        return pixels
