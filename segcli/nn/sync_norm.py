"""Batch norm over the images of all processes that share a batch, however many each of them has.

PyTorch's own `SyncBatchNorm` works on GPUs only, and knows no process that takes part without an image.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["ExhaustedElsewhereError", "Link", "SyncNorm", "synchronised"]


class ExhaustedElsewhereError(RuntimeError):
    """Another process has run out of memory, and does not finish this batch."""


class Link:
    """Adds short vectors of numbers over all processes.

    With `alarmed`, every vector has one length and one more number: with it, a process that cannot go on tells the
    others, wherever they are. Reading it waits for the device.
    """

    def __init__(self) -> None:
        self.length = 0
        """Length of the longest vector."""
        self.alarmed = False
        self.counts = True
        """False if the images of this process do not count; it takes part because the others would wait."""
        self.alone = False
        """True if the batch has a single image."""

    @property
    def remembers(self) -> bool:
        """Tell whether running statistics are updated."""
        return True

    def begin(self, *, own: int, total: int) -> None:
        """Begin a batch.

        Args:
            own: Number of images of this process that count.
            total: Number of images of all processes.
        """
        self.counts, self.alone = own > 0, total == 1

    def add(self, values: Tensor) -> Tensor:
        """Return the sum of the vectors of all processes.

        Raises:
            ExhaustedElsewhereError: Another process has run out of memory.
        """
        if not self.alarmed:
            torch.distributed.all_reduce(values)
            return values
        room = values.new_zeros(self.length + 1)
        room[: len(values)] = values
        torch.distributed.all_reduce(room)
        if room[-1] > 0:
            raise ExhaustedElsewhereError("another process is out of memory")
        return room[: len(values)]

    def agree(self, device: torch.device) -> None:
        """Come to the end of a batch together.

        Raises:
            ExhaustedElsewhereError: Another process has run out of memory.
        """
        if self.alarmed:
            self.add(torch.zeros(0, dtype=torch.float64, device=device))

    def alarm(self, device: torch.device) -> None:
        """Tell the others that this process has run out of memory."""
        room = torch.zeros(self.length + 1, dtype=torch.float64, device=device)
        room[-1] = 1.0
        torch.distributed.all_reduce(room)


class _Normalised(torch.autograd.Function):
    """Normalise by mean and variance of all processes; returns them with the number of values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, link: Link) -> Any:
        axes, channels = [0, *range(2, x.ndim)], x.shape[1]
        count = x.numel() // channels if link.counts else 0
        variance, mean = torch.var_mean(x.float() if x.dtype.itemsize < 4 else x, axes, correction=0)
        # in float64: the square of the mean is subtracted again
        mean, variance = mean.double(), variance.double()
        own = torch.cat([mean, variance + mean.square(), mean.new_ones(1)]) * count
        total = link.add(own)
        number = total[-1]
        mean = total[:channels] / number
        variance = (total[channels:-1] / number - mean.square()).clamp(min=0.0)
        kind = torch.float32 if weight is None and x.dtype.itemsize < 4 else x.dtype if weight is None else weight.dtype
        normalised = nn.functional.batch_norm(x, mean.to(kind), variance.to(kind), weight, bias, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean.to(kind), (variance + eps).rsqrt().to(kind), number)
        ctx.link, ctx.counts = link, link.counts
        ctx.mark_non_differentiable(mean, variance, number)
        return normalised, mean, variance, number

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> Any:
        x, weight, mean, scale, number = ctx.saved_tensors
        axes, shape = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
        mean, scale = mean.view(shape), scale.view(shape)
        slope = gradient.to(mean.dtype)
        away = x.to(mean.dtype) - mean
        sums = slope.sum(axes), (slope * away).sum(axes)
        of_weight = None if weight is None else sums[1] * scale.flatten()
        of_bias = None if weight is None else sums[0]
        # the others wait for this sum, also if nothing here counts
        total = ctx.link.add(torch.cat(sums).double()) / number
        if not ctx.counts:
            return torch.zeros_like(x), of_weight, of_bias, None, None
        of_mean, of_variance = (part.to(mean.dtype).view(shape) for part in total.chunk(2))
        result = slope - of_mean - away * (scale.square() * of_variance)
        result *= scale if weight is None else scale * weight.view(shape)
        return result.to(x.dtype), of_weight, of_bias, None, None


class SyncNorm(_BatchNorm):
    """Batch norm whose statistics are those of the images of all processes; parameters and buffers keep their names.

    In evaluation it is a plain batch norm.
    """

    link: Link

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel."""
        if not self.training:
            return super().forward(x)
        if self.link.alone and x.numel() == x.shape[1]:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.size()}")
        normalised, mean, variance, number = _Normalised.apply(x, self.weight, self.bias, self.eps, self.link)  # type: ignore[no-untyped-call]
        if self.track_running_stats and self.link.remembers:
            self._remember(mean, variance, number)
        result: Tensor = normalised
        return result

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, number: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (number / (number - 1.0).clamp(min=1.0))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - PyTorch's name
        """Take images of any number of axes."""


@cache
def _hide_from_compiler() -> None:
    """Let `torch.compile` leave the exchange between processes out; called late, as it imports the compiler."""
    SyncNorm.forward = torch.compiler.disable(SyncNorm.forward)  # type: ignore[method-assign, no-untyped-call]


def synchronised(network: nn.Module, link: Link, *, compiles: bool = False) -> None:
    """Replace every batch norm in a network by one over all processes, with the same parameters and buffers.

    Args:
        network: The network.
        link: Adds the statistics.
        compiles: The network will be compiled.
    """
    if compiles:
        _hide_from_compiler()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):  # also one that an earlier training has replaced
                setattr(module, name, _like(child, link))
                link.length = max(link.length, 2 * child.num_features + 1)


def _like(norm: _BatchNorm, link: Link) -> SyncNorm:
    made = SyncNorm(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
    )
    made.link = link
    made._parameters, made._buffers, made.training = norm._parameters, norm._buffers, norm.training
    return made
