"""Lovász hinge and Lovász softmax.

Paper: Berman et al., "The Lovász-Softmax loss: a tractable surrogate for the optimization of the
intersection-over-union measure in neural networks", CVPR 2018, https://arxiv.org/abs/1705.08790.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segcli.core.types import ConfigModel
from segcli.losses import MaskLoss
from segcli.nn.shared_probs import softmax

__all__ = ["Lovasz"]

ALIASES = ("LovaszLoss", "lovasz_softmax", "lovasz_hinge")


class Lovasz(MaskLoss):
    """Convex surrogate of `1 - IoU` per image: Lovász hinge for separate masks, Lovász softmax for class indices.

    Separate masks are averaged over channels and images; a pixel that is right by a margin of 1 costs nothing. The
    hinge can be larger than 1.

    Shape:
        `(B, K, *S), (B, K, *S) or (B, *S) -> ()`.
    """

    sparse_gradient = True  # pixels that are right by the margin get no gradient
    pools = False

    class Config(ConfigModel):
        """Keys of `loss: {type: lovasz}`."""

        classes: Literal["present", "all"] = "present"
        """With class indices: average over the classes `present` in the truth of an image, or over `all`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss; an image without a valid pixel counts 0."""
        if truth.ndim == logits.ndim:
            foreground = truth.bool() & valid
            errors = (1.0 - logits.where(foreground, -logits)).relu()
            return _extended_jaccard(errors * valid, foreground).mean()
        foreground = F.one_hot(truth.long(), logits.shape[1]).movedim(-1, 1).bool() & valid
        errors = (foreground.to(logits.dtype) - softmax(logits)).abs()
        per_class = _extended_jaccard(errors * valid, foreground)
        if self.config.classes == "all":
            return per_class.mean()
        present = foreground.flatten(2).any(2)
        return ((per_class * present).sum(1) / present.sum(1).clamp(min=1)).mean()


def _extended_jaccard(errors: Tensor, foreground: Tensor) -> Tensor:
    """Compute the Lovász extension of the Jaccard loss at the errors, `(B, K, *S), (B, K, *S) -> (B, K)`.

    Errors are at least 0. Errors of 0 come last and cost nothing; this is how pixels that are not valid drop out.
    """
    descending, order = errors.flatten(2).sort(dim=2, descending=True)
    hit = foreground.flatten(2).gather(2, order)
    intersection = hit.sum(2, keepdim=True) - hit.cumsum(2)
    union = hit.sum(2, keepdim=True) + (~hit).cumsum(2)
    # Growth of the Jaccard loss with each further wrong pixel. The difference of two neighbouring losses is the same
    # number, but in an image of a million pixels float32 keeps only one digit of that difference.
    exact = union.to(errors.dtype)
    of_background = intersection / (exact * (exact - 1.0)).clamp(min=1.0)
    first_of_empty = union == 1  # without foreground the first wrong pixel costs everything, the others nothing
    growth = torch.where(hit | first_of_empty, 1.0 / exact, of_background)
    return (descending * growth).sum(2)
