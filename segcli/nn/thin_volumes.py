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

SLICES = 2
"""Axis of the slices of a batch of volumes, and of the kernel in its weights."""


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
        if func is not torch.conv3d or not _is_thin(*args[:2]):
            return func(*args, **kwargs)
        floats: list[Any] = [each.float() if isinstance(each, torch.Tensor) else each for each in args]
        with torch.autocast("cpu", enabled=False):
            return func(*floats, **kwargs)


def _is_thin(volumes: torch.Tensor, weight: torch.Tensor, *_: Any) -> bool:
    return 1 < volumes.shape[SLICES] < weight.shape[SLICES]
