"""Loss of SADAAN: masks, presence and attention of several structures that may be absent.

Seven parts, each one expression over batch and structures at once, without waiting for the device.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from segcli.core.types import Batch, ConfigModel, Outputs, Share
from segcli.losses import Loss

__all__ = ["SADAAN"]

CPU_BLOCK, GPU_BLOCK = 2**17, 2**25
"""Values of a block, for each core: they fit its cache; a GPU wants many at a time."""
Weight = Annotated[float, Field(ge=0.0)]


class SADAAN(Loss):
    """Seven parts, each averaged over the structures that it is about, then over images.

    An image that a part is not about (none present, none absent) counts 0 in it.

    Shape:
        `mask` and `attention` `(B, K, *S)`, `presence`, `gate` and `confidence` `(B, K)`, truth `(B, K, *S)` and
        presence `(B, K)`, to seven scalars.
    """

    can_target = ("masks",)
    needs = ("mask", "presence", "gate", "attention", "confidence")

    class Config(ConfigModel):
        """Keys of `loss: {type: sadaan}`."""

        segmentation: Weight = 1.0
        """Weight of the cross-entropy of the masks of present structures."""
        dice: Weight = 2.0
        """Weight of the Dice loss of every mask; an absent structure found empty costs 0."""
        focal_seg: Weight = 1.0
        """Weight of the focal loss of every mask."""
        absence: Weight = 1.0
        """Weight of the cross-entropy of presence."""
        attention_supervision: Weight = 0.5
        """Weight of the cross-entropy of attention against the mask."""
        false_positive_suppression: Weight = 0.5
        """Weight of the mean probability of the masks of absent structures."""
        confidence: Weight = 0.1
        """Weight of the squared confidence where presence was judged wrong."""
        alpha: Share = 0.25
        """Weight of the foreground in the focal loss, `1 - alpha` that of the background."""
        gamma: Annotated[float, Field(ge=0.0)] = 2.0
        """How fast the weight of a voxel falls with its probability of being right."""
        smooth: Annotated[float, Field(gt=0.0)] = 1.0
        """Added to numerator and denominator of Dice."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.part_weights = config.model_dump(exclude={"alpha", "gamma", "smooth"})

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The seven parts."""
        logits, attention = (outputs[name].float().flatten(2) for name in ("mask", "attention"))
        truth, valid = (batch[name].flatten(2) for name in ("mask", "valid"))
        present = batch["presence"].to(logits.dtype)
        every, smooth = torch.ones_like(present), self.config.smooth
        count = valid.sum(2).clamp(min=1.0)
        entropy, focal, found, overlap = _MaskSums.apply(logits, truth, valid, self.config.alpha, self.config.gamma)  # type: ignore[no-untyped-call]
        attended = _EntropySum.apply(attention, truth, valid)  # type: ignore[no-untyped-call]
        there = (truth & valid).sum(2)
        presence = F.binary_cross_entropy_with_logits(outputs["presence"].float(), present, reduction="none")
        wrong = (outputs["gate"] >= 0) != present.bool()
        return {
            "segmentation": _mean(entropy / count, present),
            "dice": _mean(1.0 - (2.0 * overlap + smooth) / (found + there + smooth), every),
            "focal_seg": _mean(focal / count, every),
            "absence": _mean(presence, every),
            "attention_supervision": _mean(attended / count, every),
            "false_positive_suppression": _mean(found / count, 1.0 - present),
            "confidence": _mean(wrong * outputs["confidence"].float().sigmoid().square(), every),
        }


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean over the counted structures of each image, `(B, K), (B, K) -> ()`, then over images."""
    return ((values * counted).sum(1) / counted.sum(1).clamp(min=1.0)).mean()


class _MaskSums(torch.autograd.Function):
    """Sums over the valid voxels of a mask: cross-entropy, focal loss, probability, and probability on the truth.

    `(B, K, N), (B, K, N), (B, 1, N) -> 4 (B, K)`. With `y` the logit against the truth and `q = sigmoid(y)` the
    probability of being wrong, the entropy is `softplus(y)` and the focal loss `q^gamma softplus(y)`. All sums share
    these two, and so do the gradients, which are worked out anew and block by block: nothing is kept for backward,
    and on a CPU the intermediate values stay in its cache.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, truth: Tensor, valid: Tensor, alpha: float, gamma: float) -> Any:
        ctx.save_for_backward(logits, truth, valid)
        ctx.alpha, ctx.gamma = alpha, gamma
        sums = [logits.new_zeros(logits.shape[:2]) for _ in range(4)]
        for block in _blocks(logits):
            counts, true, away, against = _against(logits, truth, valid, block)
            wrong, entropy = against.sigmoid(), F.softplus(against)
            sums[1] += _modulation(wrong, true, counts, alpha, gamma).mul_(entropy).sum(2)
            sums[0] += entropy.mul_(counts).sum(2)
            probs = wrong.mul_(away).add_(true).mul_(counts)
            sums[2] += probs.sum(2)
            sums[3] += probs.mul_(true).sum(2)
        return tuple(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        logits, truth, valid = ctx.saved_tensors
        of_entropy, of_focal, of_probs, of_overlap = (entry.unsqueeze(2) for entry in gradients)
        result = torch.empty_like(logits)
        for block in _blocks(logits):
            counts, true, away, against = _against(logits, truth, valid, block)
            wrong, entropy = against.sigmoid(), F.softplus(against)
            right = 1.0 - wrong
            steep = entropy.mul_(right).mul_(ctx.gamma).add_(wrong)
            steep.mul_(_modulation(wrong, true, counts, ctx.alpha, ctx.gamma)).mul_(of_focal)
            steep.addcmul_(wrong * counts, of_entropy).mul_(away)
            slope = right.mul_(wrong).mul_(counts)
            torch.addcmul(steep, slope, true.mul_(of_overlap).add_(of_probs), out=result[:, :, block])
        return result, None, None, None, None


class _EntropySum(torch.autograd.Function):
    """Sum of the cross-entropy over valid voxels, `(B, K, N), (B, K, N), (B, 1, N) -> (B, K)`, in the same way."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(logits, truth, valid)
        total = logits.new_zeros(logits.shape[:2])
        for block in _blocks(logits):
            counts, _, __, against = _against(logits, truth, valid, block)
            total += F.softplus(against).mul_(counts).sum(2)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        logits, truth, valid = ctx.saved_tensors
        result = torch.empty_like(logits)
        for block in _blocks(logits):
            counts, _, away, against = _against(logits, truth, valid, block)
            steep = against.sigmoid_().mul_(away).mul_(counts)
            torch.mul(steep, gradient.unsqueeze(2), out=result[:, :, block])
        return result, None, None


def _blocks(logits: Tensor) -> Iterator[slice]:
    """Runs of voxels, of all images and structures at once, that are worked on together."""
    rows, voxels = logits.shape[0] * logits.shape[1], logits.shape[2]
    size = CPU_BLOCK * torch.get_num_threads() if logits.device.type == "cpu" else GPU_BLOCK
    length = max(size // max(rows, 1), 1)
    for start in range(0, voxels, length):
        yield slice(start, min(start + length, voxels))


def _against(logits: Tensor, truth: Tensor, valid: Tensor, block: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a block: what counts, the truth, 1 where it is nothing and -1 where it is something, and the logit against."""
    # a CPU turns bytes into numbers six times as fast as truth values
    true = truth[:, :, block].view(torch.uint8).to(logits.dtype)
    away = true.mul(-2.0).add_(1.0)
    return valid[:, :, block].view(torch.uint8).to(logits.dtype), true, away, logits[:, :, block] * away


def _modulation(wrong: Tensor, true: Tensor, counts: Tensor, alpha: float, gamma: float) -> Tensor:
    """Weight of each voxel in the focal loss."""
    return true.mul(2.0 * alpha - 1.0).add_(1.0 - alpha).mul_(counts).mul_(wrong.pow(gamma))
