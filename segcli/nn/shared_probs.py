"""Probabilities of the outputs of one step, computed once for all losses and metrics that need them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segcli.core.arrays import KNOWN

__all__ = ["sharing", "sigmoid", "softmax", "softmax_values"]


def sharing(logits: Tensor) -> Tensor:
    """Mark logits, which must not change any more, so that their probabilities are kept as long as they are.

    Kept are values, not a graph: each loss has its own path to the logits, so that gradients are added in the same
    order, to the same bits, as if each loss computed the probabilities by itself.

    Example:
        >>> logits = sharing(torch.zeros(1, 2, 3))
        >>> softmax_values(logits) is softmax_values(logits)
        True
    """
    setattr(logits, KNOWN, {})
    return logits


def softmax(logits: Tensor) -> Tensor:
    """Compute the softmax over the channels of `(B, K, *S)`, with its gradient."""
    return _probabilities(logits, "softmax", lambda: logits.softmax(dim=1))


def sigmoid(logits: Tensor) -> Tensor:
    """Compute the sigmoid, with its gradient."""
    return _probabilities(logits, "sigmoid", logits.sigmoid)


@torch.no_grad()
def softmax_values(logits: Tensor) -> Tensor:
    """Compute the softmax over the channels of `(B, K, *S)`, without a gradient."""
    known: dict[str, Tensor] = getattr(logits, KNOWN, {})
    if "softmax" not in known:
        known["softmax"] = logits.softmax(dim=1)
    return known["softmax"]


def _probabilities(logits: Tensor, name: str, compute: Callable[[], Tensor]) -> Tensor:
    known: dict[str, Tensor] | None = getattr(logits, KNOWN, None)
    if known is None:
        return compute()
    if name in known:
        return _Known.apply(logits, known[name], name)  # type: ignore[no-untyped-call, no-any-return]  # PyTorch states no types
    probs = compute()
    known[name] = probs.detach()
    return probs


class _Known(torch.autograd.Function):
    """Gives probabilities that were computed before a gradient: the one that PyTorch computes, by the same function."""

    @staticmethod
    def forward(context: Any, logits: Tensor, probs: Tensor, name: str) -> Tensor:
        """Return the probabilities."""
        context.save_for_backward(probs)
        context.name = name
        return probs.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Multiply the gradient by the derivative of the probabilities."""
        (probs,) = context.saved_tensors
        if context.name == "softmax":
            return torch._softmax_backward_data(gradient, probs, 1, probs.dtype), None, None
        return torch.ops.aten.sigmoid_backward(gradient, probs), None, None
