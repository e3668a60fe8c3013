"""Loss of SADAAN: masks, presence and attention of several structures that may be absent.

It has seven parts. Each is one expression over batch and structures at once and never waits for the device.

The confidence is trained against whether the predicted presence is right, which has no gradient itself: with the
cross-entropy, a proper scoring rule, its best value is the probability of being right. A confidence
that is learned beside the prediction: DeVries and Taylor, "Learning Confidence for Out-of-Distribution Detection in
Neural Networks", 2018, https://arxiv.org/abs/1802.04865. Differs from that paper: the prediction is not mixed with the
truth, and the target is whether it is right. Earlier versions lowered the confidence where presence was wrong and never
raised it; the key `confidence` keeps that loss.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Self

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from segcli.core.types import Batch, ConfigModel, Outputs, Share
from segcli.losses import Loss

__all__ = ["SADAAN"]

CPU_BLOCK, GPU_BLOCK = 2**17, 2**25
"""Values per block: on a CPU, per core, so that they fit its cache; a GPU is fastest with large blocks."""
CALIBRATION = 0.1
"""Weight of the loss of confidence when none is set."""
Weight = Annotated[float, Field(ge=0.0)]


class SADAAN(Loss):
    """Seven parts, each averaged over the structures that it applies to, then over images.

    A part is 0 for an image without such structures (none present, or none absent).

    Shape:
        `mask` and `attention` `(B, K, *S)`, `presence`, `gate` and `confidence` `(B, K)`, truth `(B, K, *S)` and
        presence `(B, K)`, to seven scalars.
    """

    can_target = ("masks",)
    needs = ("mask", "presence", "gate", "attention", "confidence")
    parts = (
        "segmentation",
        "dice",
        "focal_seg",
        "absence",
        "attention_supervision",
        "false_positive_suppression",
        "confidence",
    )
    pools = False

    class Config(ConfigModel):
        """Keys of `loss: {type: sadaan}`."""

        segmentation: Weight = 1.0
        """Weight of the cross-entropy of the masks of present structures."""
        dice: Weight = 2.0
        """Weight of the Dice loss of every mask; an absent structure that is predicted empty costs 0."""
        focal_seg: Weight = 1.0
        """Weight of the focal loss of every mask."""
        absence: Weight = 1.0
        """Weight of the cross-entropy of presence."""
        attention_supervision: Weight = 0.5
        """Weight of the cross-entropy of attention against the mask."""
        false_positive_suppression: Weight = 0.5
        """Weight of the mean probability of the masks of absent structures."""
        calibration: Weight | None = None
        """Weight of the cross-entropy of confidence against whether the predicted presence is right; default: 0.1."""
        confidence: Weight | None = None
        """Instead of `calibration`, as in earlier versions: weight of the squared confidence where the predicted
        presence is wrong. Nothing raises this confidence, so it is not shown."""
        alpha: Share = 0.25
        """Weight of the foreground in the focal loss; the background has weight `1 - alpha`."""
        gamma: Annotated[float, Field(ge=0.0)] = 2.0
        """Focusing parameter of the focal loss: the larger, the less well-classified voxels weigh."""
        smooth: Annotated[float, Field(gt=0.0)] = 1.0
        """Added to numerator and denominator of Dice."""

        @model_validator(mode="after")
        def _one_loss_of_confidence(self) -> Self:
            if self.calibration is not None and self.confidence is not None:
                raise ValueError("`calibration` and `confidence` are two losses of one output: set one of them to null")
            if self.calibration is None and self.confidence is None:
                object.__setattr__(self, "calibration", CALIBRATION)
            return self

        @model_serializer(mode="wrap")
        def _without_the_other(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
            """Leave out the key that is not set: the config of an earlier version stays as it was."""
            unset = [name for name in ("calibration", "confidence") if getattr(self, name) is None]
            return {name: value for name, value in handler(self).items() if name not in unset}

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        weight = config.calibration if config.confidence is None else config.confidence
        assert weight is not None
        self.part_weights = {**config.model_dump(include=set(self.parts)), "confidence": weight}

    @classmethod
    def calibrates(cls, config: Any) -> tuple[str, ...]:
        """List `confidence`, unless its loss is off or the one of earlier versions."""
        return ("confidence",) if config.calibration else ()

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the seven parts by name."""
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
            "confidence": _mean(self._confidence_loss(outputs["confidence"].float(), wrong), every),
        }

    def _confidence_loss(self, confidence: Tensor, wrong: Tensor) -> Tensor:
        """Compute the loss of each confidence `(B, K)`, by whether the predicted presence is wrong."""
        if self.config.confidence is not None:
            return wrong * confidence.sigmoid().square()
        return F.binary_cross_entropy_with_logits(confidence, (~wrong).to(confidence.dtype), reduction="none")


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Average over the counted structures of each image, then over images, `(B, K), (B, K) -> ()`."""
    return ((values * counted).sum(1) / counted.sum(1).clamp(min=1.0)).mean()


class _MaskSums(torch.autograd.Function):
    """Sum cross-entropy, focal loss, probability, and probability on the truth over the valid voxels of a mask.

    `(B, K, N), (B, K, N), (B, 1, N) -> 4 (B, K)`. With `y` the logit of the wrong answer and `q = sigmoid(y)` its
    probability, the entropy is `softplus(y)` and the focal loss `q^gamma softplus(y)`. All sums and gradients share
    these two terms. The backward pass computes them again, block by block: no activation is kept for backward, and on
    a CPU the intermediate values stay in the cache.
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
    """Sum the cross-entropy over valid voxels block by block, `(B, K, N), (B, K, N), (B, 1, N) -> (B, K)`."""

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
    """Yield slices of voxels; each slice covers all images and structures and is processed at once."""
    rows, voxels = logits.shape[0] * logits.shape[1], logits.shape[2]
    size = CPU_BLOCK * torch.get_num_threads() if logits.device.type == "cpu" else GPU_BLOCK
    length = max(size // max(rows, 1), 1)
    for start in range(0, voxels, length):
        yield slice(start, min(start + length, voxels))


def _against(logits: Tensor, truth: Tensor, valid: Tensor, block: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return valid (0/1), truth (0/1), sign (1 background, -1 foreground), logit of the wrong answer for a block."""
    # a CPU converts bytes to floats six times as fast as booleans
    true = truth[:, :, block].view(torch.uint8).to(logits.dtype)
    away = true.mul(-2.0).add_(1.0)
    return valid[:, :, block].view(torch.uint8).to(logits.dtype), true, away, logits[:, :, block] * away


def _modulation(wrong: Tensor, true: Tensor, counts: Tensor, alpha: float, gamma: float) -> Tensor:
    """Compute the weight of each voxel in the focal loss."""
    return true.mul(2.0 * alpha - 1.0).add_(1.0 - alpha).mul_(counts).mul_(wrong.pow(gamma))
