"""Cross-entropy of each pixel, whose gradient is computed part by part in the processor's cache."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["negative_log_probs"]

AT_ONCE = 2**18
"""Numbers of a part, of all classes together: some arrays of this size stay in the cache of the processor."""


def negative_log_probs(logits: Tensor, truth: Tensor) -> Tensor:
    """Compute the negative log probability of the true class of each pixel, `(B, K, *S), (B, *S) -> (B, *S)`.

    Values and gradient are those of PyTorch's cross-entropy, to the bit. On a CPU, that one passes over an array of
    zeros for all classes and pixels to compute the gradient.

    Args:
        logits: `(B, K, *S)`.
        truth: Class indices `(B, *S)` int64.

    Example:
        >>> negative_log_probs(torch.tensor([[[0.0], [0.0]]]), torch.tensor([[1]]))
        tensor([[0.6931]])
    """
    if logits.device.type != "cpu" or logits.ndim < 3 or not logits.is_contiguous():
        return F.cross_entropy(logits, truth, reduction="none")
    return _NegativeLogProbs.apply(logits, truth)  # type: ignore[no-untyped-call, no-any-return]  # PyTorch states no types


class _NegativeLogProbs(torch.autograd.Function):
    """Logarithm of the softmax and choice of the true class in one node."""

    @staticmethod
    def forward(context: Any, logits: Tensor, truth: Tensor) -> Tensor:
        """Choose the true class of the log probabilities."""
        log_probs = logits.log_softmax(dim=1)
        context.save_for_backward(log_probs, truth)
        return F.nll_loss(log_probs, truth, reduction="none")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Compute the gradient by PyTorch's function, one part of an image after the other."""
        log_probs, truth = context.saved_tensors
        found = torch.empty_like(log_probs)
        classes = log_probs.shape[1]
        step = max(AT_ONCE // classes // 64, 1) * 64
        images = zip(log_probs.flatten(2), truth.flatten(1), gradient.flatten(1), found.flatten(2), strict=True)
        for logs, true, of_pixels, result in images:
            for start in range(0, logs.shape[1], step):
                part = slice(start, start + step)
                index = true[part].unsqueeze(0)
                of_logs = logs.new_zeros(classes, index.shape[1]).scatter_(0, index, of_pixels[part].neg().unsqueeze(0))
                result[:, part] = torch._log_softmax_backward_data(of_logs, logs[:, part].contiguous(), 0, logs.dtype)
        return found, None
