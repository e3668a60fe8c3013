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

FLOOR = 1e-6
"""The root has no finite slope at 0; below this the loss is flat."""


class FocalTversky(Tversky):
    """Root of the Tversky loss, which keeps images that are nearly right in play; mean over images and channels.

    Shape:
        `(B, K, *S), (B, K, *S) or (B, *S) -> ()`, in `[0, 1]`.
    """

    class Config(Tversky.Config):
        """Keys of `loss: {type: focal_tversky}`."""

        gamma: Annotated[float, Field(gt=0.0)] = 4.0 / 3.0
        """The Tversky loss is raised to `1 / gamma`; 1 is the Tversky loss itself."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.exponent = 1.0 / config.gamma

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Scalar loss."""
        return self.complements(logits, truth, valid).clamp(min=FLOOR).pow(self.exponent).mean()
