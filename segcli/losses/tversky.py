"""Tversky loss.

Paper: Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks",
MLMI 2017, https://arxiv.org/abs/1706.05721.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from segcli.core.types import ConfigModel
from segcli.losses import MaskLoss, counted, probabilities_and_truth

__all__ = ["Tversky"]

ALIASES = ("TverskyLoss",)
RELATED = (
    ("jaccard", "`{type: tversky, alpha: 1.0, beta: 1.0}` is the Jaccard loss"),
    ("jaccard_loss", "`{type: tversky, alpha: 1.0, beta: 1.0}` is the Jaccard loss"),
    ("iou", "`{type: tversky, alpha: 1.0, beta: 1.0}` is the Jaccard loss"),
    ("iou_loss", "`{type: tversky, alpha: 1.0, beta: 1.0}` is the Jaccard loss"),
)


class Tversky(MaskLoss):
    """`1 - Tversky index`: Dice with separate weights for false positives and negatives; mean over images, channels.

    Shape:
        `(B, K, *S), (B, K, *S) or (B, *S) -> ()`, in `[0, 1]`.
    """

    pools = False

    class Config(ConfigModel):
        """Keys of `loss: {type: tversky}`."""

        alpha: Annotated[float, Field(ge=0.0)] = 0.3
        """Weight of false positives."""
        beta: Annotated[float, Field(ge=0.0)] = 0.7
        """Weight of false negatives; `alpha` and `beta` of 0.5 give the Dice loss."""
        smooth: Annotated[float, Field(gt=0.0)] = 1.0
        """Added to numerator and denominator, so that an empty mask that is predicted empty has loss 0."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss."""
        return self.complements(logits, truth, valid).mean()

    def complements(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute `1 - Tversky index` of each image and channel, `(B, K)`."""
        probs, target = probabilities_and_truth(logits, truth)
        probs, target = counted(probs, target, valid)
        hit = (probs * target).flatten(2).sum(2)
        false_alarm = (probs * (1.0 - target)).flatten(2).sum(2)
        miss = ((1.0 - probs) * target).flatten(2).sum(2)
        wrong = self.config.alpha * false_alarm + self.config.beta * miss
        return wrong / (hit + wrong + self.config.smooth)
