"""Losses, one file each. This file holds the contract of every loss.

A loss takes the network's raw outputs and the batch and returns its parts by name, unweighted, so that each part can
be logged. Pixels outside `batch["valid"]` (padding, outside the field of view, ignored) never count.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from segcli.core.types import Batch, ConfigModel, Outputs
from segcli.nn.shared_probs import sigmoid, softmax

__all__ = [
    "Loss",
    "MaskLoss",
    "WeightedSum",
    "counted",
    "foreground_and_truth",
    "mean_over_images",
    "probabilities_and_truth",
]


class Loss(nn.Module, ABC):
    """A loss of one or more parts, each averaged over the images of the batch."""

    Config: ClassVar[type[ConfigModel]]
    can_target: ClassVar[tuple[Literal["masks", "classes"], ...]] = ("masks", "classes")
    """Kinds of truth that this loss can compare with: separate masks, or classes that exclude each other."""
    needs: ClassVar[tuple[str, ...]] = ("mask",)
    """Outputs of the network that this loss reads."""
    can_answer: ClassVar[tuple[str, ...]] = ("mask",)
    """Outputs that this loss can score: `mask` (pixels) or `class` (whole images)."""
    output: str = "mask"
    """Output that this loss scores; set to the main output of the task."""
    name: str = ""
    """Name under which the part is logged; the component's file name."""
    sparse_gradient: ClassVar[bool] = False
    """True where some valid pixels may get no gradient, for example pixels that are right by a margin."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Names of the parts of a loss that has several; a loss of one part has the loss's own name."""
    pools: bool = True
    """False if the loss of a batch is the mean of the losses of its images, so that processes can share a batch; else
    each of them computes the loss of the whole batch."""
    part_weights: Mapping[str, float] = {}
    """Weight of each part within this loss; a part that is not listed weighs 1."""

    @classmethod
    def mistake(cls, config: Any, num_classes: int) -> str | None:
        """Say what is wrong with the keys for a data set of `num_classes` classes; None when they fit."""
        return None

    @classmethod
    def calibrates(cls, config: Any) -> tuple[str, ...]:
        """List the outputs without pixels that these keys train to be the logit of a calibrated probability."""
        return ()

    @abstractmethod
    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the parts by name, each a scalar in float32."""


class MaskLoss(Loss):
    """A loss of one part on the `mask` output."""

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the value of this loss under its own name."""
        # always float32, also when the network runs in fp16: sums over a million pixels overflow fp16
        return {self.name: self.compute(outputs[self.output].float(), batch[self.output], batch["valid"])}

    @abstractmethod
    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss.

        Args:
            logits: Raw network output `(B, K, *S)`.
            truth: `(B, K, *S)` of 0 and 1 where every channel is a separate mask, or class indices `(B, *S)`.
            valid: `(B, 1, *S)` boolean; pixels that are False do not count.
        """


def probabilities_and_truth(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities and 0/1 truth, both `(B, K, *S)`, for separate masks (sigmoid) or classes (softmax)."""
    if truth.ndim == logits.ndim:
        return sigmoid(logits), truth.to(logits.dtype)
    one_hot = torch.zeros_like(logits).scatter_(1, truth.long().unsqueeze(1), 1.0)
    return softmax(logits), one_hot


def counted(probs: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Set probabilities and target to 0 at every pixel that does not count."""
    weight = valid.to(probs.dtype)  # a CPU multiplies numbers far faster by numbers than by truth values
    return probs * weight, target * weight


def foreground_and_truth(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return `probabilities_and_truth` without the background channel where the background is a class (class 0)."""
    probs, target = probabilities_and_truth(logits, truth)
    return (probs, target) if truth.ndim == logits.ndim else (probs[:, 1:], target[:, 1:])


def mean_over_images(values: Tensor, valid: Tensor) -> Tensor:
    """Average over the valid pixels of each image, then over images; an image without a valid pixel counts 0.

    Args:
        values: `(B, K, *S)`.
        valid: `(B, 1, *S)` boolean.
    """
    weight = valid.to(values.dtype).expand_as(values)
    per_image = (values * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1.0)
    return per_image.mean()


class WeightedSum(nn.Module):
    """Weighted sum of losses; returns the total as `loss` and, if there are several parts, each as `loss_<name>`."""

    def __init__(self, losses: list[tuple[float, Loss]]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(loss for _, loss in losses)
        self.weights = [weight for weight, _ in losses]
        self.pools = any(loss.pools for _, loss in losses)

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return `{"loss": total, "loss_<part>": value, ...}`."""
        # convert once for all losses: the outputs of a network in bf16 and channels-last are bf16 and channels-last
        outputs = {name: values.float().contiguous() for name, values in outputs.items()}
        parts: dict[str, Tensor] = {}
        summands: list[Tensor] = []
        for weight, loss in zip(self.weights, self.terms, strict=True):
            assert isinstance(loss, Loss)
            values = loss(outputs, batch)
            summands += [weight * loss.part_weights.get(name, 1.0) * value for name, value in values.items()]
            # two losses may both have a part named `dice`
            parts |= {f"{loss.name}_{name}" if name in parts else name: value for name, value in values.items()}
        if not summands:
            return {}  # the loss of the training is left out
        total = torch.stack(summands).sum()
        return {"loss": total, **{f"loss_{name}": value for name, value in parts.items() if len(parts) > 1}}
