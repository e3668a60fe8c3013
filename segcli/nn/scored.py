"""What a network found, beside the truth: what tasks give and metrics read."""

from functools import cached_property

import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.nn.distance import outline_distances

__all__ = ["Scored", "ScoredClasses"]


class Scored:
    """Hold what was found in a batch beside the truth; work that metrics share is done once.

    Args:
        probs: Probabilities `(B, K, *S)`.
        truth: `(B, K, *S)` boolean.
        valid: `(B, 1, *S)` boolean; what is False does not count.
        threshold: A pixel belongs to the mask from this probability on.
        spacing: Size of a pixel along each axis in millimetres, in the order of `S`; 1 when left out, so that
            distances are in pixels.
        presence: Whether each channel was judged present, `(B, K)` boolean; where a pixel was found when left out.
    """

    judged: Tensor | None = None
    matrix: Tensor | None = None
    """Confusion matrices of the images, where classes exclude each other."""

    def __init__(
        self,
        probs: Tensor,
        truth: Tensor,
        valid: Tensor,
        threshold: float,
        spacing: tuple[float, ...] | None = None,
        presence: Tensor | None = None,
    ) -> None:
        self.judged = presence
        self.probs = probs
        self.truth = truth
        self.valid = valid.expand_as(probs)
        self.found = probs >= threshold
        self.spacing = (1.0,) * (probs.ndim - 2) if spacing is None else spacing
        assert len(self.spacing) == probs.ndim - 2

    @cached_property
    def confusion(self) -> Tensor:
        """Counts `(B, K, 4)` of true positive, false positive, false negative, true negative pixels."""
        code = self.found.to(torch.uint8) * 2 + self.truth.to(torch.uint8)
        code = code.masked_fill(~self.valid, 4).flatten(2)
        true_positive, false_positive, false_negative, true_negative = (
            (code == value).sum(2) for value in (3, 2, 1, 0)
        )
        return torch.stack([true_positive, false_positive, false_negative, true_negative], dim=2)

    @property
    def true_presence(self) -> Tensor:
        """Whether the truth has a pixel that counts, `(B, K)` boolean."""
        return self.confusion[:, :, 0] + self.confusion[:, :, 2] > 0

    @property
    def found_presence(self) -> Tensor:
        """Whether each channel was judged present, `(B, K)` boolean."""
        found: Tensor = self.confusion[:, :, 0] + self.confusion[:, :, 1] > 0
        return found if self.judged is None else self.judged

    @cached_property
    def masks(self) -> tuple[Array, Array]:
        """Found and true masks `(B, K, *S)` on the CPU; a pixel that is not valid belongs to neither."""
        return (self.found & self.valid).cpu().numpy(), (self.truth & self.valid).cpu().numpy()

    @cached_property
    def outline_distances(self) -> list[list[tuple[Array, Array]]]:
        """Per image and channel what `segcli.nn.distance.outline_distances` gives."""
        return [
            [outline_distances(*pair, self.spacing) for pair in zip(*image, strict=True)]
            for image in zip(*self.masks, strict=True)
        ]


class ScoredClasses(Scored):
    """Hold the same where each pixel has exactly one class: the most probable one is found, the first of equals.

    Args:
        probs: Probabilities `(B, K, *S)`.
        truth: Index of each pixel's class `(B, *S)` int64.
        valid: `(B, 1, *S)` boolean; what is False does not count.
        spacing: As in `Scored`.
    """

    def __init__(self, probs: Tensor, truth: Tensor, valid: Tensor, spacing: tuple[float, ...] | None = None) -> None:
        self.probs = probs
        self.true_class = truth
        self.found_class = probs.max(dim=1).indices  # argmax is eight times as slow on a CPU
        self.valid = valid.expand_as(probs)
        self.spacing = (1.0,) * (probs.ndim - 2) if spacing is None else spacing

    @cached_property
    def truth(self) -> Tensor:  # type: ignore[override]
        """True masks `(B, K, *S)` boolean."""
        return self._masks_of(self.true_class)

    @cached_property
    def found(self) -> Tensor:  # type: ignore[override]
        """Found masks `(B, K, *S)` boolean."""
        return self._masks_of(self.found_class)

    def _masks_of(self, index: Tensor) -> Tensor:
        classes = torch.arange(self.probs.shape[1], device=index.device)
        return index.unsqueeze(1) == classes.view(-1, *[1] * (index.ndim - 1))

    @cached_property
    def matrix(self) -> Tensor:  # type: ignore[override]
        """Confusion matrix of each image: pixels `(B, K, K)` by true class (row) and found class (column)."""
        images, count = self.probs.shape[:2]
        code = (self.true_class * count + self.found_class).reshape(images, -1)
        pixels = torch.zeros(images, count * count, dtype=torch.int64, device=code.device)
        return pixels.scatter_add_(1, code, self.valid[:, 0].reshape(images, -1).long()).view(images, count, count)

    @cached_property
    def confusion(self) -> Tensor:
        """Counts `(B, K, 4)`, each class against all others."""
        hit, true, found = self.matrix.diagonal(dim1=1, dim2=2), self.matrix.sum(2), self.matrix.sum(1)
        total = self.matrix.sum((1, 2)).unsqueeze(1)
        return torch.stack([hit, found - hit, true - hit, total - true - found + hit], dim=2)
