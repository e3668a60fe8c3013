"""Convolutions of thin volumes on a CPU, whose gradients PyTorch computes wrongly in bf16.

If a volume has fewer slices than the kernel, but more than one, oneDNN adds memory that was never written to the
gradient of the weights (PyTorch 2.13 on processors with AVX-512 BF16). The deepest levels of a network on thin patches
have such volumes.
"""

from typing import Any

import torch
from torch import Tensor

from segcli.nn.volume_convolutions import Given, VolumeConvolutions

__all__ = ["ThinVolumesInFloat32"]

SLICES = -3
"""Axis of the slices of a volume, or of a batch of volumes, and of the kernel in its weights."""


class ThinVolumesInFloat32(VolumeConvolutions):
    """Computes the convolutions of thin volumes in float32 within autocast."""

    def convolved(self, given: Given) -> Tensor | None:
        """Convolve a thin volume without autocast."""
        if not 1 < given["input"].shape[SLICES] < given["weight"].shape[SLICES]:
            return None
        floats: dict[str, Any] = {
            name: each.float() if isinstance(each, Tensor) else each for name, each in given.items()
        }
        with torch.autocast("cpu", enabled=False):
            return torch.conv3d(**floats)
