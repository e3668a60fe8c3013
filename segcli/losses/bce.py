"""Binary cross-entropy on logits."""

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from segcli.core.types import ConfigModel
from segcli.losses import MaskLoss, mean_over_images

__all__ = ["BCE"]

ALIASES = ("BCEWithLogitsLoss", "bce_with_logits", "BCELoss", "binary_cross_entropy")
RELATED = (
    ("combined", "a sum is written with its parts and weights: `loss: {bce: 0.5, dice: 0.5}`"),
    ("combined_loss", "a sum is written with its parts and weights: `loss: {bce: 0.5, dice: 0.5}`"),
    ("bce_dice", "a sum is written with its parts and weights: `loss: {bce: 0.5, dice: 0.5}`"),
    ("dice_bce", "a sum is written with its parts and weights: `loss: {bce: 0.5, dice: 0.5}`"),
    ("bce_dice_loss", "a sum is written with its parts and weights: `loss: {bce: 0.5, dice: 0.5}`"),
    ("dice_bce_loss", "a sum is written with its parts and weights: `loss: {bce: 0.5, dice: 0.5}`"),
)


class BCE(MaskLoss):
    """Mean cross-entropy of the valid pixels of each image, averaged over images.

    Shape:
        `(B, K, *S), (B, K, *S) -> ()`.
    """

    can_target = ("masks",)
    pools = False

    class Config(ConfigModel):
        """Keys of `loss: {type: bce}`."""

        pos_weight: Annotated[float, Field(gt=0.0)] = 1.0
        """Weight of a foreground pixel relative to a background pixel."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss; an image without a valid pixel counts 0."""
        positive = logits.new_full((), self.config.pos_weight)
        values = F.binary_cross_entropy_with_logits(
            logits, truth.to(logits.dtype), reduction="none", pos_weight=positive
        )
        return mean_over_images(values, valid)
