"""Soft Dice loss.

Paper: Milletari et al., "V-Net", 3DV 2016, https://arxiv.org/abs/1606.04797.

Differs from the paper: the denominator sums probabilities, not their squares.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from segcli.core.types import ConfigModel
from segcli.losses import MaskLoss, counted, probabilities_and_truth

__all__ = ["Dice"]

ALIASES = ("DiceLoss", "soft_dice", "SoftDiceLoss")


class Dice(MaskLoss):
    """Soft Dice loss: `1 - Dice` of probabilities and truth, averaged over images and channels.

    Shape:
        `(B, K, *S), (B, K, *S) or (B, *S) -> ()`, in `[0, 1]`.
    """

    class Config(ConfigModel):
        """Keys of `loss: {type: dice}`."""

        smooth: Annotated[float, Field(gt=0.0)] = 1.0
        """Added to numerator and denominator, so that an empty mask that is predicted empty has loss 0."""
        pooled: bool = False
        """Compute one Dice over all pixels of the batch, instead of one Dice per image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.pools = config.pooled

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss."""
        probs, target = probabilities_and_truth(logits, truth)
        probs, target = counted(probs, target, valid)
        axes = [0, *range(2, probs.ndim)] if self.config.pooled else list(range(2, probs.ndim))
        overlap = (probs * target).sum(axes)
        total = probs.sum(axes) + target.sum(axes)
        smooth = self.config.smooth
        return (1.0 - (2.0 * overlap + smooth) / (total + smooth)).mean()
