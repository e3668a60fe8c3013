"""Train a U-Net of segmentation-models-pytorch in its usual loop: OpenCV, albumentations, its losses and its scores.

Run by run.py, in an environment with segmentation-models-pytorch, albumentations and OpenCV.
"""

import os
from importlib import import_module
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded: the encoders begin with random weights

import torch
from _shared import Spec, begin, fit, pictures

# torchvision from PyPI is built for CUDA; beside PyTorch for CPUs it cannot be imported without these operators.
# Where it fits PyTorch it brings them, and may not find them declared.
try:
    import_module("torchvision")
except RuntimeError:
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import segmentation_models_pytorch as smp

soft_bce, soft_dice = smp.losses.SoftBCEWithLogitsLoss(), smp.losses.DiceLoss(mode="binary")


def loss(logits: Any, mask: Any) -> Any:
    """Add half of each."""
    return 0.5 * soft_bce(logits, mask) + 0.5 * soft_dice(logits, mask)


def dice(logits: Any, mask: Any) -> list[float]:
    """Return the Dice of each picture."""
    counts = smp.metrics.get_stats(logits.sigmoid(), mask.long(), mode="binary", threshold=0.5)
    scores: list[float] = smp.metrics.f1_score(*counts, reduction="none")[:, 0].tolist()
    return scores


def main() -> None:
    """Train."""
    spec = Spec.given()
    begin(spec)
    network = smp.Unet(
        spec.encoder,
        encoder_weights=None,
        encoder_depth=len(spec.depths),
        decoder_channels=spec.depths,
        in_channels=3,
        classes=1,
    )
    fit(spec, network, pictures(spec, "train"), pictures(spec, "val"), loss=loss, dice=dice)


if __name__ == "__main__":
    main()
