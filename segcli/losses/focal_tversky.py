"""Focal Tversky loss.

Paper: Abraham and Khan, "A novel focal Tversky loss function with improved attention U-Net for lesion segmentation",
ISBI 2019, https://arxiv.org/abs/1810.07842.

Differs from the paper: `alpha` weighs false positives and `beta` false negatives, as in `tversky`; the paper's alpha is
our beta. Channels are averaged, not summed.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from segcli.losses.tversky import Tversky

__all__ = ["FocalTversky"]

ALIASES = ("FocalTverskyLoss",)

FLOOR = 1e-6
"""Smallest value under the root, whose slope is infinite at 0; below it the gradient is 0."""


class FocalTversky(Tversky):
    """Tversky loss to the power `1 / gamma`, so that nearly right images keep a gradient; mean over images, channels.

    Shape:
        `(B, K, *S), (B, K, *S) or (B, *S) -> ()`, in `[0, 1]`.
    """

    class Config(Tversky.Config):
        """Keys of `loss: {type: focal_tversky}`."""

        gamma: Annotated[float, Field(gt=0.0)] = 4.0 / 3.0
        """The Tversky loss is raised to the power `1 / gamma`; 1 is the plain Tversky loss."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.exponent = 1.0 / config.gamma

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss."""
        return self.complements(logits, truth, valid).clamp(min=FLOOR).pow(self.exponent).mean()
