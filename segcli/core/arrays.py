"""Functions for both NumPy arrays and tensors; this module does not import PyTorch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from segcli.core.types import Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KNOWN", "A", "by_channel", "sigmoid", "softmax", "spread"]

A = TypeVar("A", Array, "Tensor")
"""A NumPy array or a tensor; a function returns the same kind that it takes."""
KNOWN = "known_probs"
"""Attribute of a tensor whose probabilities are computed once: those known so far, by name (`nn/shared_probs.py`)."""


def sigmoid(logits: A) -> A:
    """Compute the sigmoid in float32; for arrays on the side that does not overflow."""
    if not isinstance(logits, np.ndarray):
        known: A | None = getattr(logits, KNOWN, {}).get("sigmoid")
        return logits.float().sigmoid() if known is None else known
    logits = np.asarray(logits, np.float32)
    small = np.exp(-np.abs(logits))
    probs: Array = np.where(logits >= 0, 1, small) / (1 + small)
    return probs


def softmax(logits: A) -> A:
    """Compute the softmax in float32 over the channels of `(B, K, *S)`."""
    if not isinstance(logits, np.ndarray):
        known: A | None = getattr(logits, KNOWN, {}).get("softmax")
        return logits.float().softmax(dim=1) if known is None else known
    logits = np.asarray(logits, np.float32)
    exponentials: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials


def by_channel(values: Sequence[float], like: A) -> A:
    """Convert values `(K)` to float32 of the kind of `like`, shaped to broadcast over its channels, `(K, *1)`."""
    shape = (-1, *[1] * (like.ndim - 2))
    if not isinstance(like, np.ndarray):
        return like.float().new_tensor(values).view(shape)
    array: Array = np.array(values, np.float32).reshape(shape)
    return array


def spread(values: A, like: A) -> A:
    """Add to values `(B, K)` an axis of length 1 for each spatial axis of `like`."""
    return values.reshape((*values.shape, *[1] * (like.ndim - 2)))
