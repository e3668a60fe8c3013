"""Convolutions of a single small volume in float32 on a CPU, for which PyTorch takes its slow kernel.

PyTorch gives a convolution to oneDNN if it has several images or a large one, and counts only channels and the first
two axes of a volume. A single window of 32 x 32 x 32 is small for it, and takes up to 20 times as long as one window of
several. oneDNN itself computes a window alone with the same bits as among others.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from segcli.nn.onednn import has_onednn
from segcli.nn.volume_convolutions import Given, VolumeConvolutions

__all__ = ["SingleVolumesFast"]

SMALL = 20480
"""Largest product of channels, slices and rows of an image that PyTorch keeps from oneDNN."""


class SingleVolumesFast(VolumeConvolutions):
    """Gives oneDNN also the convolutions of single small volumes, where no gradient is asked for."""

    def convolved(self, given: Given) -> Tensor | None:
        """Convolve a single small volume by oneDNN."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or not _is_slow(given):
            return None
        return _by_onednn(given)


def _is_slow(given: Given) -> bool:
    """Tell whether PyTorch would take its slow kernel, and oneDNN is able to compute the convolution."""
    image, weight = given["input"], given["weight"]
    plain = type(image) is Tensor and image.device.type == "cpu" and image.dtype == weight.dtype == torch.float32
    if not plain or image.ndim != 5 or len(image) != 1 or given["groups"] != 1 or isinstance(given["padding"], str):
        return False
    rows, columns = weight.shape[-2:]
    return (
        image.shape[1] * image.shape[2] * image.shape[3] <= SMALL
        and (rows > 1 or columns > 1)  # of single voxels, the product of matrices is faster
        and not (rows > 3 and columns > 3)
        and torch._C._get_mkldnn_enabled()
        and has_onednn()
    )


def _by_onednn(given: Given) -> Tensor:
    axes = [_three(given[name]) for name in ("padding", "stride", "dilation")]
    convolve: Callable[..., Tensor] = torch.mkldnn_convolution  # PyTorch's types know neither lists nor groups
    return convolve(given["input"], given["weight"], given["bias"], *axes, 1)


def _three(value: int | Sequence[int]) -> list[int]:
    """State a number for each axis."""
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers * 3 if len(numbers) == 1 else numbers
