"""Sums over pixels for each class, from logits and class indices, without a tensor of 0 and 1 for each class."""

from typing import Any

import torch
from torch import Tensor

from segcli.nn.shared_probs import softmax_values

__all__ = ["class_sums"]


def class_sums(logits: Tensor, truth: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum the softmax over the pixels of each image: at the pixels of each class, and everywhere; count the pixels.

    One softmax is kept for the gradient, where a product with a one-hot truth keeps four tensors of that size.

    Args:
        logits: `(B, K, *S)`.
        truth: Class indices `(B, *S)`.
        valid: `(B, 1, *S)` boolean; other pixels do not count.

    Returns:
        Three tensors `(B, K)`: probability of a class at its true pixels, at all pixels, and its true pixels.

    Example:
        >>> logits = torch.tensor([[[9.0, -9.0, 0.0], [-9.0, 9.0, 0.0]]])
        >>> [each.round().tolist() for each in class_sums(logits, torch.tensor([[0, 1, 1]]), torch.ones(1, 1, 3) > 0)]
        [[[1.0, 2.0]], [[2.0, 2.0]], [[1.0, 2.0]]]
    """
    weight = valid.flatten(1).to(logits.dtype)
    truth = truth.flatten(1).long()
    probs = softmax_values(logits).flatten(2)
    overlap, predicted = _Sums.apply(logits.flatten(2), probs, truth, weight)  # type: ignore[no-untyped-call]  # PyTorch states no types
    return overlap, predicted, weight.new_zeros(predicted.shape).scatter_add_(1, truth, weight)


class _Sums(torch.autograd.Function):
    """Sums of the softmax in one node, so that the gradient passes over the pixels three times instead of ten."""

    @staticmethod
    def forward(context: Any, logits: Tensor, probs: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Sum the softmax `(B, K, N)` at the true pixels of each class, and at all pixels, `(B, K)` each."""
        hits = probs.gather(1, truth.unsqueeze(1)).squeeze(1) * weight
        overlap = hits.new_zeros(probs.shape[:2]).scatter_add_(1, truth, hits)
        context.save_for_backward(probs, truth, weight, hits)
        context.all_count = bool((weight == 1.0).all())
        return overlap, torch.bmm(probs, weight.unsqueeze(2)).squeeze(2)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Multiply the gradients of the sums by the derivative of the softmax."""
        probs, truth, weight, hits = context.saved_tensors
        of_overlap, of_predicted = gradients
        at_truth = hits * of_overlap.gather(1, truth)
        mean = torch.bmm(of_predicted.unsqueeze(1), probs).squeeze(1) * weight + at_truth
        of_pixels, mean = of_predicted.unsqueeze(2), mean.unsqueeze(1)
        # where all pixels count, a product with 1 would change no bit, and pass over all classes and pixels
        gradient = of_pixels - mean if context.all_count else (of_pixels * weight.unsqueeze(1)).sub_(mean)
        gradient.mul_(probs)
        return gradient.scatter_add_(1, truth.unsqueeze(1), at_truth.unsqueeze(1)), None, None, None
