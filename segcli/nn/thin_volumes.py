"""Convolutions of thin volumes on a CPU, whose gradients PyTorch computes wrongly in bf16.

If a volume has fewer slices than the kernel, but more than one, oneDNN adds memory that was never written to the
gradient of the weights (PyTorch 2.13 on processors with AVX-512 BF16). The deepest levels of a network on thin patches
have such volumes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["ThinVolumesInFloat32"]

SLICES = -3
"""Axis of the slices of a volume, or of a batch of volumes, and of the kernel in its weights."""
NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
"""Arguments of a convolution in their order."""


class ThinVolumesInFloat32(TorchFunctionMode):
    """Computes the convolutions of thin volumes in float32 within autocast."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch; a convolution of a thin volume without autocast."""
        kwargs = kwargs or {}
        if func is torch.conv3d:
            given = {**dict(zip(NAMES, args, strict=False)), **kwargs}
            if 1 < given["input"].shape[SLICES] < given["weight"].shape[SLICES]:
                return _in_float32(given)
        return func(*args, **kwargs)


def _in_float32(given: Mapping[str, Any]) -> torch.Tensor:
    floats: dict[str, Any] = {
        name: each.float() if isinstance(each, torch.Tensor) else each for name, each in given.items()
    }
    with torch.autocast("cpu", enabled=False):
        return torch.conv3d(**floats)
