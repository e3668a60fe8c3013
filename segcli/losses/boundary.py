"""Boundary loss.

Paper: Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019, https://arxiv.org/abs/1812.07032.

Differs from the paper: the integral over the truth is kept. The paper drops it from equation 4, because it has no
gradient. With it the loss is 0 for a perfect prediction and never negative; gradients are those of the paper.
"""

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array, ConfigModel
from segcli.losses import MaskLoss, foreground_and_truth, mean_over_images
from segcli.nn.distance import distance_to

__all__ = ["Boundary"]

ALIASES = ("BoundaryLoss",)


class Boundary(MaskLoss):
    """Distance in pixels to the true boundary, summed where the prediction is wrong; mean over pixels, then images.

    Combine it with a region loss and give it a small weight: `loss: {dice: 1.0, boundary: 0.01}`. A mask without
    foreground, or without background, has no boundary and counts 0. With class indices, class 0 is left out.
    Distances are computed on the CPU: when training on a GPU, each step waits until the truth is copied.

    Shape:
        `(B, K, *S), (B, K, *S) or (B, *S) -> ()`.
    """

    pools = False

    class Config(ConfigModel):
        """No keys beside `loss: {type: boundary}`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss in pixels."""
        probs, target = foreground_and_truth(logits, truth)
        masks = target.bool().cpu().numpy()
        counted = valid.expand_as(target).cpu().numpy()
        maps = np.stack(
            [
                _distance_to_boundary(*pair)
                for pair in zip(masks.reshape(-1, *masks.shape[2:]), counted.reshape(-1, *masks.shape[2:]), strict=True)
            ]
        )
        distances = torch.from_numpy(maps).to(probs).view_as(probs)
        return mean_over_images(distances * (probs - target).abs(), valid)


def _distance_to_boundary(truth: Array, valid: Array) -> Array:
    """Compute the distance from each pixel's centre to the edge between valid foreground and valid background.

    Pixels that are not valid are unknown and make no boundary.
    """
    foreground, background = truth & valid, ~truth & valid
    if not foreground.any() or not background.any():
        return np.zeros(truth.shape)
    return np.where(truth, distance_to(background), distance_to(foreground)) - 0.5
