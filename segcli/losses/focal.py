"""Focal loss.

Paper: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, https://arxiv.org/abs/1708.02002.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from segcli.core.types import ConfigModel, Share
from segcli.losses import MaskLoss, mean_over_images

__all__ = ["Focal"]

ALIASES = ("FocalLoss",)


class Focal(MaskLoss):
    """Cross-entropy that gives little weight to well-classified pixels, averaged over pixels, then images.

    Separate masks go through the sigmoid, class indices through the softmax.

    Shape:
        `(B, K, *S), (B, K, *S) or (B, *S) -> ()`.
    """

    pools = False

    class Config(ConfigModel):
        """Keys of `loss: {type: focal}`."""

        alpha: Share | None = 0.25
        """Weight of the foreground; the background (class 0) has weight `1 - alpha`. `null`: no weights."""
        gamma: Annotated[float, Field(ge=0.0)] = 2.0
        """Focusing parameter: the larger, the less well-classified pixels weigh; 0 is plain cross-entropy."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss; an image without a valid pixel counts 0."""
        log_right, log_wrong, foreground = (
            _of_masks(logits, truth) if truth.ndim == logits.ndim else _of_classes(logits, truth)
        )
        # exp(gamma log(1 - p)) and not (1 - p)**gamma, which has no gradient where `p` rounds to 1
        values = -(self.config.gamma * log_wrong).exp() * log_right
        alpha = self.config.alpha
        if alpha is not None:
            values = values * (foreground * alpha + ~foreground * (1.0 - alpha))
        return mean_over_images(values, valid)


def _of_masks(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log probabilities of the true and of the wrong value, and a map of the foreground, for masks."""
    foreground = truth.bool()
    towards_truth = logits.where(foreground, -logits)
    return F.logsigmoid(towards_truth), F.logsigmoid(-towards_truth), foreground


def _of_classes(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log probabilities of right and wrong, and a map of the foreground, for class indices: `(B, 1, *S)`."""
    index = truth.long().unsqueeze(1)
    total = logits.logsumexp(dim=1, keepdim=True)
    others = logits.scatter(1, index, float("-inf")).logsumexp(dim=1, keepdim=True)
    return logits.gather(1, index) - total, others - total, index > 0
