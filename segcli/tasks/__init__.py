"""Tasks, one file each: what a network's raw outputs mean. What every task keeps stands here.

The engine never asks which task it runs; whatever differs between masks, classes and presence is a method here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from segcli.core.types import Array, Batch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Task"]


def _sigmoid(logits: Array) -> Array:
    """Of the side that does not overflow."""
    small = np.exp(-np.abs(logits))
    probs: Array = np.where(logits >= 0, 1, small) / (1 + small)
    return probs


def _softmax(logits: Array) -> Array:
    exponentials: Array = np.exp(logits - logits.max(axis=0, keepdims=True))
    exponentials /= exponentials.sum(axis=0, keepdims=True)
    return exponentials


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"sigmoid": _sigmoid, "softmax": _softmax}
"""From logits `(K, *S)` to probabilities, by the name in `Task.activation`."""


class Task(ABC):
    """Turns raw outputs into probabilities and probabilities into an answer."""

    activation: ClassVar[str]
    """Name of the function from logits to probabilities, as in `model.final_activation`."""
    default_loss: ClassVar[str]
    default_metrics: ClassVar[tuple[str, ...]]
    evaluation_metrics: ClassVar[tuple[str, ...]]
    """What `eval` adds to the metrics of the run."""
    classes: ClassVar[tuple[str, ...]] = ()
    """Names of the channels of the mask, where the task fixes them."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    @property
    @abstractmethod
    def outputs(self) -> dict[str, int]:
        """Channels of each output that the network must give."""

    @abstractmethod
    def targets(self, batch: Batch) -> Batch:
        """Bring the loader's compact targets into the shape that losses expect, on the batch's device."""

    @abstractmethod
    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Probabilities `(B, K, *S)` from logits of the same shape, in float32."""

    def probabilities_of(self, logits: Array) -> Array:
        """As `probabilities`, of one image `(K, *S)` and without PyTorch."""
        return ACTIVATIONS[self.activation](np.asarray(logits, np.float32))

    @abstractmethod
    def decide(self, probs: Array, threshold: float) -> Array:
        """Answer as it is saved, `(K, *S) -> (*S)` uint8, ready to be looked at."""
