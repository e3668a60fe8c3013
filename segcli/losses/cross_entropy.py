"""Cross-entropy of classes that exclude each other."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from segcli.core.types import ConfigModel
from segcli.data.classes.weights import BETA, Scheme
from segcli.losses import MaskLoss, mean_over_images
from segcli.nn.pixel_losses import negative_log_probs

__all__ = ["CrossEntropy"]

ALIASES = ("CrossEntropyLoss", "ce", "categorical_cross_entropy")
RELATED = (
    ("dice_ce", "a sum is written with its parts and weights: `loss: {cross_entropy: 1.0, dice: 1.0}`"),
    ("ce_dice", "a sum is written with its parts and weights: `loss: {cross_entropy: 1.0, dice: 1.0}`"),
    ("dice_ce_loss", "a sum is written with its parts and weights: `loss: {cross_entropy: 1.0, dice: 1.0}`"),
)


class CrossEntropy(MaskLoss):
    """Negative log probability of the true class, times the weight of that class.

    It is averaged over the valid pixels of each image, then over images. Differs from PyTorch: the sum is divided by
    the number of pixels, not by the sum of their weights. So the loss of a batch is the mean over its images.

    Shape:
        `(B, K, *S), (B, *S) -> ()`; for whole images `(B, K), (B) -> ()`.
    """

    can_target = ("classes",)
    can_answer = ("mask", "class")
    pools = False

    class Config(ConfigModel):
        """Keys of `loss: {type: cross_entropy}`."""

        class_weights: Scheme | list[Annotated[float, Field(ge=0.0)]] = "none"
        """A weight for each class, or the method that computes them from the training masks: `none`, `inverse`,
        `median_frequency` or `effective_number`. The run's config records the computed numbers."""
        beta: Annotated[float, Field(gt=0.0, lt=1.0)] = BETA
        """Hyperparameter beta of `effective_number`."""
        label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
        """Label smoothing: share of the target probability that is spread evenly over all classes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        given = config.class_weights if isinstance(config.class_weights, list) else None
        self.weight: Tensor | None
        self.register_buffer("weight", None if given is None else torch.tensor(given), persistent=False)

    @classmethod
    def mistake(cls, config: Config, num_classes: int) -> str | None:
        """Say what is wrong unless there is one weight for each class and one of them is above 0."""
        given = config.class_weights
        if isinstance(given, list) and len(given) != num_classes:
            return f"`class_weights` has {len(given)} entries, the data set has {num_classes} classes"
        if isinstance(given, list) and not any(given):
            return "every one of the `class_weights` is 0: nothing would be trained"
        return None

    def compute(self, logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the scalar loss; an image without a valid pixel counts 0."""
        smoothing = self.config.label_smoothing
        if self.weight is None and not smoothing:
            values = negative_log_probs(logits, truth.long())
        else:
            values = F.cross_entropy(
                logits, truth.long(), weight=self.weight, reduction="none", label_smoothing=smoothing
            )
        return mean_over_images(values.unsqueeze(1), valid)
