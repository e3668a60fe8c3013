"""Soft centre-line Dice loss (soft-clDice) for tubes: vessels, nerves, roads.

Paper: Shit et al., "clDice - a novel topology-preserving loss function for tubular structure segmentation", CVPR 2021,
https://arxiv.org/abs/2003.07311.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from segcli.core.types import ConfigModel, Positive
from segcli.losses import MaskLoss, counted, foreground_and_truth
from segcli.nn.dims import MAX_POOL

__all__ = ["SoftClDice"]

ALIASES = ("soft_cldice_loss", "cldice_loss", "cldice")


class SoftClDice(MaskLoss):
    """`1 - soft-clDice`: overlap of each mask with the centre lines of the other, averaged over images and channels.

    The paper adds it to a Dice loss: `loss: {dice: 0.5, soft_cldice: 0.5}`. With class indices, class 0 is left out.

    Shape:
        `(B, K, *S), (B, K, *S) or (B, *S) -> ()`, in `[0, 1]`.
    """

    sparse_gradient = True  # min and max pass the gradient to one pixel only
    pools = False

    class Config(ConfigModel):
        """Keys of `loss: {type: soft_cldice}`."""

        iterations: Positive = 10
        """Thinning steps; at least the radius in pixels of the thickest tube, otherwise its centre line is lost."""
        smooth: Annotated[float, Field(gt=0.0)] = 1.0
        """Added to numerators and denominators, so that an empty mask that is predicted empty has loss 0."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss; pixels that are not valid belong to neither mask."""
        probs, target = foreground_and_truth(logits, truth)
        probs, target = counted(probs, target, valid)
        found_lines = soft_skeleton(probs, self.config.iterations)
        true_lines = soft_skeleton(target, self.config.iterations)
        precision = self._share(found_lines, target)
        sensitivity = self._share(true_lines, probs)
        return (1.0 - 2.0 * precision * sensitivity / (precision + sensitivity)).mean()

    def _share(self, lines: Tensor, mask: Tensor) -> Tensor:
        """Compute the share of the centre lines that lies in the mask, `(B, K)`."""
        smooth = self.config.smooth
        return ((lines * mask).flatten(2).sum(2) + smooth) / (lines.flatten(2).sum(2) + smooth)


def soft_skeleton(mask: Tensor, iterations: int) -> Tensor:
    """Compute differentiable centre lines of a soft mask (values 0 to 1), `(B, K, *S) -> (B, K, *S)`.

    Pixels that a morphological opening removes belong to a centre line. Each iteration then erodes the mask once.
    """
    dilated = MAX_POOL[mask.ndim - 2]
    lines = torch.zeros_like(mask)
    for _ in range(iterations + 1):
        eroded = _eroded(mask)
        opened = dilated(eroded, kernel_size=3, stride=1, padding=1)
        lines = lines + (mask - opened).relu() * (1.0 - lines)
        mask = eroded
    return lines


def _eroded(mask: Tensor) -> Tensor:
    """Erode: take the minimum of each pixel and its neighbours along the axes."""
    ndim = mask.ndim - 2
    pool = MAX_POOL[ndim]
    eroded = mask
    for axis in range(ndim):
        kernel = [3 if other == axis else 1 for other in range(ndim)]
        lowest = -pool(-mask, kernel_size=kernel, stride=1, padding=[size // 2 for size in kernel])
        eroded = eroded.minimum(lowest)
    return eroded
