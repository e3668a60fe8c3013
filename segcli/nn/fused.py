"""Convolutions with their batch norm and ReLU in one call of oneDNN, for predictions in float32 on a CPU.

PyTorch alone passes over the image three times, and brings the weights into oneDNN's order at each call, which takes
most of the time of small images. The results differ from those of the three layers in the last bits, and depend on
nothing but the image and its size.
"""

from collections.abc import Callable, Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segcli.nn.onednn import has_onednn

__all__ = ["fuse"]

Step = Callable[[Tensor], Tensor]
CONVOLUTIONS: dict[type, type] = {nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}


def fuse(network: nn.Module) -> int:
    """Fuse layers that follow each other in an `nn.Sequential`; the network must keep its weights from then on.

    The layers themselves stay, so that a network may still call them one by one.

    Returns:
        The number of convolutions that were fused.
    """
    if not _works_here():
        return 0
    count = 0
    for block in network.modules():
        if isinstance(block, nn.Sequential) and type(block).forward is nn.Sequential.forward:
            steps = list(_steps(list(block)))
            fused = sum(isinstance(step, _Fused) for step in steps)
            if fused:
                block.forward = _Chain(block, steps)  # type: ignore[method-assign]  # of this block only
            count += fused
    return count


def _works_here() -> bool:
    return has_onednn() and torch.backends.cpu.get_cpu_capability().startswith("AVX")


def _steps(layers: list[nn.Module]) -> Iterator[Step]:
    """Yield the layers in their order, those that can be fused as one."""
    index = 0
    while index < len(layers):
        conv, norm, last = (*layers[index : index + 3], None, None)[:3]
        if norm is None or not _can_fuse(conv, norm):
            yield layers[index]
            index += 1
            continue
        assert isinstance(conv, nn.Conv2d | nn.Conv3d)
        assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
        has_relu = type(last) is nn.ReLU and not _is_watched(last)
        yield _Fused(conv, norm, has_relu=has_relu)
        index += 3 if has_relu else 2


def _can_fuse(conv: nn.Module | None, norm: nn.Module) -> bool:
    if type(norm) is not CONVOLUTIONS.get(type(conv)):
        return False
    assert isinstance(conv, nn.Conv2d | nn.Conv3d)
    assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
    tensors = chain(conv.parameters(), norm.parameters(), norm.buffers())
    return (
        not norm.training
        and norm.running_mean is not None
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and all(each.dtype in (torch.float32, torch.int64) and each.device.type == "cpu" for each in tensors)
        and not _is_watched(conv)
        and not _is_watched(norm)
    )


def _is_watched(layer: nn.Module) -> bool:
    """Tell whether somebody wants to see the layer called."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


class _Fused:
    """Convolution, batch norm and perhaps ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d, *, has_relu: bool) -> None:
        with torch.no_grad():
            both = fuse_conv_bn_eval(conv, norm)
        self.weight = both.weight.detach()
        self.bias = None if both.bias is None else both.bias.detach()
        self.axes = list(both.padding), list(both.stride), list(both.dilation), both.groups
        self.after = "relu" if has_relu else "none"
        self.packed: tuple[list[int], Tensor] | None = None
        """Size of the last image, and the weights in the order that oneDNN takes for it."""

    def __call__(self, image: Tensor) -> Tensor:
        size, packed = list(image.shape), self.packed
        if packed is None or packed[0] != size:
            packed = size, torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.axes, size)
            self.packed = packed
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            image, packed[1], self.bias, *self.axes, self.after, [], ""
        )
        return found


class _Chain:
    """Calls the steps of a block; another image than predictions have goes through its layers."""

    def __init__(self, block: nn.Sequential, steps: list[Step]) -> None:
        self.block, self.steps = block, steps

    def __call__(self, image: Tensor) -> Tensor:
        plain = type(image) is Tensor and image.device.type == "cpu" and image.dtype == torch.float32
        if not plain or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not image.numel():
            found: Tensor = nn.Sequential.forward(self.block, image)  # type: ignore[no-untyped-call]  # PyTorch states no types
            return found
        for step in self.steps:
            image = step(image)
        return image
