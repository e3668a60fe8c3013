"""Prediction and truth of a batch: tasks make it, metrics read it."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.nn.best_class import best_class
from segcli.nn.distance import outline_distances

__all__ = ["Scored", "ScoredClasses"]


class Scored:
    """Hold prediction and truth of one batch; quantities that several metrics need are computed once.

    Args:
        probs: Probabilities `(B, K, *S)`.
        truth: `(B, K, *S)` boolean.
        valid: `(B, 1, *S)` boolean; pixels that are False do not count.
        threshold: A pixel belongs to the mask if its probability is at least this.
        spacing: Pixel or voxel spacing along each axis in millimetres, in the order of `S`; 1 when left out, so that
            distances are in pixels.
        presence: True where the network predicts a channel as present, `(B, K)` boolean; when left out, only the
            predicted mask decides.
        certainty: Probability of presence and confidence in it, `(B, K)` each; empty if the network gives none.
    """

    judged: Tensor | None = None
    certainty: Mapping[str, Tensor] = {}
    matrix: Tensor | None = None
    """Confusion matrices of the images if classes exclude each other."""

    def __init__(
        self,
        probs: Tensor,
        truth: Tensor,
        valid: Tensor,
        threshold: float,
        spacing: tuple[float, ...] | None = None,
        presence: Tensor | None = None,
        certainty: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.judged = presence
        self.certainty = certainty or {}
        self.probs = probs
        self.truth = truth
        self.valid = valid.expand_as(probs)
        self.found = probs >= threshold
        self.spacing = (1.0,) * (probs.ndim - 2) if spacing is None else spacing
        assert len(self.spacing) == probs.ndim - 2

    @cached_property
    def confusion(self) -> Tensor:
        """Count true positive, false positive, false negative and true negative pixels, `(B, K, 4)`."""
        if self.probs.device.type != "cpu":
            code = self.found.to(torch.uint8) * 2 + self.truth.to(torch.uint8)
            code = code.masked_fill(~self.valid, 4).flatten(2)
            return torch.stack([(code == value).sum(2) for value in (3, 2, 1, 0)], dim=2)
        found, true = self.found & self.valid, self.truth & self.valid
        hit, positive, true_pixels, pixels = map(_counted, (found & true, found, true, self.valid))
        missed = true_pixels - hit
        return torch.from_numpy(np.stack([hit, positive - hit, missed, pixels - positive - missed], axis=2))

    @property
    def true_presence(self) -> Tensor:
        """Tell for each channel whether the truth has a valid pixel, `(B, K)` boolean."""
        return self.confusion[:, :, 0] + self.confusion[:, :, 2] > 0

    @property
    def found_presence(self) -> Tensor:
        """Tell for each channel whether it is found: predicted as present, with a valid pixel; `(B, K)` boolean."""
        found: Tensor = self.confusion[:, :, 0] + self.confusion[:, :, 1] > 0
        return found if self.judged is None else found & self.judged

    @cached_property
    def masks(self) -> tuple[Array, Array]:
        """Return found and true masks `(B, K, *S)` on the CPU; a pixel that is not valid belongs to neither."""
        return (self.found & self.valid).cpu().numpy(), (self.truth & self.valid).cpu().numpy()

    @cached_property
    def outline_distances(self) -> list[list[tuple[Array, Array]]]:
        """Compute `segcli.nn.distance.outline_distances` for each image and channel."""
        return [
            [outline_distances(*pair, self.spacing) for pair in zip(*image, strict=True)]
            for image in zip(*self.masks, strict=True)
        ]


class ScoredClasses(Scored):
    """Hold prediction and truth where each pixel has exactly one class: the most probable, the first one in a tie.

    Args:
        probs: Probabilities `(B, K, *S)`.
        truth: Index of each pixel's class `(B, *S)` int64.
        valid: `(B, 1, *S)` boolean; pixels that are False do not count.
        spacing: As in `Scored`.
    """

    def __init__(self, probs: Tensor, truth: Tensor, valid: Tensor, spacing: tuple[float, ...] | None = None) -> None:
        self.probs = probs
        self.true_class = truth
        self.found_class = best_class(probs)
        self.valid = valid.expand_as(probs)
        self.spacing = (1.0,) * (probs.ndim - 2) if spacing is None else spacing

    @cached_property
    def truth(self) -> Tensor:  # type: ignore[override]
        """Return the true masks `(B, K, *S)` boolean."""
        return self._masks_of(self.true_class)

    @cached_property
    def found(self) -> Tensor:  # type: ignore[override]
        """Return the found masks `(B, K, *S)` boolean."""
        return self._masks_of(self.found_class)

    def _masks_of(self, index: Tensor) -> Tensor:
        classes = torch.arange(self.probs.shape[1], device=index.device)
        return index.unsqueeze(1) == classes.view(-1, *[1] * (index.ndim - 1))

    @cached_property
    def matrix(self) -> Tensor:  # type: ignore[override]
        """Count pixels by true class (row) and found class (column) in each image: confusion matrix `(B, K, K)`."""
        images, count = self.probs.shape[:2]
        code = (self.true_class * count + self.found_class).reshape(images, -1)
        pixels = torch.zeros(images, count * count, dtype=torch.int64, device=code.device)
        return pixels.scatter_add_(1, code, self.valid[:, 0].reshape(images, -1).long()).view(images, count, count)

    @cached_property
    def confusion(self) -> Tensor:
        """Count true and false positives and negatives `(B, K, 4)` of each class against all others."""
        hit, true, found = self.matrix.diagonal(dim1=1, dim2=2), self.matrix.sum(2), self.matrix.sum(1)
        total = self.matrix.sum((1, 2)).unsqueeze(1)
        return torch.stack([hit, found - hit, true - hit, total - true - found + hit], dim=2)


def _counted(masks: Tensor) -> Array:
    """Count the pixels of masks on the CPU, `(B, K, *S) -> (B, K)`; NumPy is twenty times as fast as a sum."""
    return np.array([[np.count_nonzero(mask) for mask in image] for image in masks.numpy()], np.int64)
