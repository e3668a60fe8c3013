"""Convolutions of volumes that are computed in another way than PyTorch computes them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Given", "VolumeConvolutions"]

Given = Mapping[str, Any]
"""Arguments of a convolution by their names."""
NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
"""Arguments of a convolution in their order."""
DEFAULTS = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}


class VolumeConvolutions(TorchFunctionMode, ABC):
    """Asks at each convolution of volumes for another way to compute it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch; a convolution of volumes in another way, if there is one."""
        kwargs = kwargs or {}
        if func is torch.conv3d:
            found = self.convolved({**DEFAULTS, **dict(zip(NAMES, args, strict=False)), **kwargs})
            if found is not None:
                return found
        return func(*args, **kwargs)

    @abstractmethod
    def convolved(self, given: Given) -> Tensor | None:
        """Convolve a volume in another way; None if PyTorch shall do it."""
