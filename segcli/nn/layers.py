"""Normalisation and activation layers by name, for 2D and 3D."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from segcli.core.types import ConfigModel
from segcli.nn.dims import BATCH_NORM

__all__ = ["LayerKeys", "Layers"]

ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "prelu"]
NormName = Literal["batch", "instance", "group", "layer", "none"]
MOST_GROUPS = 32
"""Groups of group normalisation in its paper."""
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "gelu": nn.GELU,
    "silu": lambda: nn.SiLU(inplace=True),
    "prelu": nn.PReLU,
}


class LayerKeys(ConfigModel):
    """Keys of networks whose normalisation and activation can be chosen."""

    activation: ActivationName = "relu"
    """Activation after each normalisation: `relu`, `leaky_relu` (slope 0.01), `elu`, `gelu`, `silu` or `prelu`."""
    norm: NormName = "batch"
    """Normalisation after each convolution. `batch`: batch norm. `instance`: each channel of each image. `group`:
    groups of channels of each image, at most 32 groups of at least two channels. `layer`: all channels of each image.
    `none`: none; the convolutions then have a bias. Only `batch` depends on the other images of a batch."""


@dataclass(frozen=True)
class Layers:
    """Makes the normalisation and activation layers of a network."""

    activation_name: ActivationName = "relu"
    norm_name: NormName = "batch"

    @classmethod
    def of(cls, keys: LayerKeys) -> "Layers":
        """Take the names from a network's config."""
        return cls(keys.activation, keys.norm)

    @property
    def has_bias(self) -> bool:
        """Tell whether a convolution before the normalisation needs a bias, because there is no normalisation."""
        return self.norm_name == "none"

    def activation(self) -> nn.Module:
        """Make an activation layer."""
        return ACTIVATIONS[self.activation_name]()

    def norm(self, ndim: int, channels: int) -> nn.Module:
        """Make a normalisation layer with a learned scale and shift for each channel."""
        match self.norm_name:
            case "batch":
                return BATCH_NORM[ndim](channels)
            case "instance":
                return _ImageNorm(channels, channels)
            case "group":
                return _ImageNorm(_groups(channels), channels)
            case "layer":
                return _ImageNorm(1, channels)
            case "none":
                return nn.Identity()


def _groups(channels: int) -> int:
    """Count the groups: as many as divide the channels, with at least two channels in each.

    Example:
        >>> [_groups(channels) for channels in (512, 64, 32, 6, 7, 1)]
        [32, 32, 16, 3, 1, 1]
    """
    return max(count for count in range(1, MOST_GROUPS + 1) if channels % count == 0 and count <= max(channels // 2, 1))


class _ImageNorm(nn.GroupNorm):
    """Group normalisation; one group for each channel is instance normalisation, one group in all layer normalisation.

    In training PyTorch refuses a group of one value, of which nothing can be learnt. In evaluation the result of such a
    group is the shift of its channel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each group of channels of each image."""
        if self.training:
            return super().forward(x)
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps, torch.backends.cudnn.enabled)
