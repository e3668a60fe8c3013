"""Adaptive average pooling in a form that ONNX files compute for images of any size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["of_any_size", "window_means"]


def window_means(x: Tensor, bins: int | Sequence[int | None]) -> Tensor:
    """Average over windows that divide the image, as `adaptive_avg_pool2d` does; `(B, C, H, W) -> (B, C, *bins)`.

    The borders of the windows are computed from the size of the image. PyTorch's exporter writes them down as numbers,
    which fit the size of the example alone.

    Example:
        >>> x = torch.arange(35.0).view(1, 1, 5, 7)
        >>> torch.allclose(window_means(x, (3, 6)), torch.nn.functional.adaptive_avg_pool2d(x, (3, 6)))
        True
    """
    counts = [bins, bins] if isinstance(bins, int) else list(bins)
    for axis, count in zip((2, 3), counts, strict=True):
        if count is not None:
            x = x.mean(axis, keepdim=True) if count == 1 else _means_along(x, axis, count)
    return x


def _means_along(x: Tensor, axis: int, count: int) -> Tensor:
    number = torch.arange(count, device=x.device)
    first = number * x.shape[axis] // count
    end = ((number + 1) * x.shape[axis] + count - 1) // count
    sums = F.pad(x.cumsum(axis), (1, 0) if axis == 3 else (0, 0, 1, 0))
    shape = [-1 if other == axis else 1 for other in range(4)]
    return (sums.index_select(axis, end) - sums.index_select(axis, first)) / (end - first).view(shape).to(x.dtype)


@contextmanager
def of_any_size() -> Iterator[None]:
    """Replace PyTorch's adaptive average pooling by `window_means` while a network is exported."""
    functions: Any = F
    before = functions.adaptive_avg_pool2d
    functions.adaptive_avg_pool2d = window_means
    try:
        yield
    finally:
        functions.adaptive_avg_pool2d = before
