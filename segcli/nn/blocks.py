"""Convolution blocks for 2D and 3D."""

from typing import Any

import torch
from torch import Tensor, nn

from segcli.nn.dims import CONV, CONV_TRANSPOSE, DROPOUT
from segcli.nn.layers import Layers

__all__ = ["ConvBlock", "DoubleConv", "ResidualBlock", "UpBlock"]

USUAL = Layers()
"""Batch norm and ReLU."""


class ConvBlock(nn.Sequential):
    """Convolution that keeps the size, normalisation, activation; `(B, C, *S) -> (B, K, *S)`."""

    def __init__(
        self, ndim: int, in_channels: int, out_channels: int, kernel_size: int = 3, layers: Layers = USUAL
    ) -> None:
        super().__init__(
            CONV[ndim](in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=layers.has_bias),
            layers.norm(ndim, out_channels),
            layers.activation(),
        )


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with normalisation and activation; `(B, C, *S) -> (B, K, *S)`."""

    def __init__(
        self, ndim: int, in_channels: int, out_channels: int, dropout: float = 0.0, layers: Layers = USUAL
    ) -> None:
        made: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            made += [
                CONV[ndim](channels, out_channels, kernel_size=3, padding=1, bias=layers.has_bias),
                layers.norm(ndim, out_channels),
                layers.activation(),
            ]
        if dropout:
            made.append(DROPOUT[ndim](dropout))
        super().__init__(*made)


class UpBlock(nn.Module):
    """Double the size, join the skip connection, convolve twice; `(B, C, *S/2), (B, K, *S) -> (B, K, *S)`.

    With another `stride`, one number for each axis, the size grows by it.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        skip_channels: int,
        dropout: float = 0.0,
        layers: Layers = USUAL,
        stride: int | tuple[int, ...] = 2,
    ) -> None:
        super().__init__()
        step: Any = stride  # PyTorch types one tuple for each number of axes
        self.up = CONV_TRANSPOSE[ndim](in_channels, skip_channels, kernel_size=step, stride=step)
        self.conv = DoubleConv(ndim, 2 * skip_channels, skip_channels, dropout, layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Join `x` from below with `skip` from the encoder."""
        joined: Tensor = self.conv(torch.cat([skip, self.up(x)], dim=1))
        return joined


class ResidualBlock(nn.Module):
    """Two convolutions with normalisation, and a shortcut around them; `(B, C, *S) -> (B, K, *S)`.

    Paper: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385.
    The shortcut is the identity if the number of channels stays, else a 1x1 convolution with normalisation.

    Args:
        ndim: Spatial axes.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Size of both kernels, odd.
        layers: Normalisation and activation.
    """

    def __init__(
        self, ndim: int, in_channels: int, out_channels: int, kernel_size: int = 3, layers: Layers = USUAL
    ) -> None:
        super().__init__()
        conv, bias = CONV[ndim], layers.has_bias
        self.first = ConvBlock(ndim, in_channels, out_channels, kernel_size, layers)
        self.second = nn.Sequential(
            conv(out_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias),
            layers.norm(ndim, out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                conv(in_channels, out_channels, 1, bias=bias), layers.norm(ndim, out_channels)
            )
        self.relu = layers.activation()

    def forward(self, x: Tensor) -> Tensor:
        """Add shortcut and convolutions and apply the activation."""
        joined: Tensor = self.relu(self.second(self.first(x)) + self.shortcut(x))
        return joined
