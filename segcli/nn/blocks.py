"""Convolution blocks for 2D and 3D."""

import torch
from torch import Tensor, nn

from segcli.nn.dims import BATCH_NORM, CONV, CONV_TRANSPOSE, DROPOUT

__all__ = ["ConvBlock", "DoubleConv", "ResidualBlock", "UpBlock"]


class ConvBlock(nn.Sequential):
    """Convolution without bias that keeps the size, batch norm, ReLU; `(B, C, *S) -> (B, K, *S)`."""

    def __init__(self, ndim: int, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(
            CONV[ndim](in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
            BATCH_NORM[ndim](out_channels),
            nn.ReLU(inplace=True),
        )


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions without bias, each with batch norm and ReLU; `(B, C, *S) -> (B, K, *S)`."""

    def __init__(self, ndim: int, in_channels: int, out_channels: int, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                CONV[ndim](channels, out_channels, kernel_size=3, padding=1, bias=False),
                BATCH_NORM[ndim](out_channels),
                nn.ReLU(inplace=True),
            ]
        if dropout:
            layers.append(DROPOUT[ndim](dropout))
        super().__init__(*layers)


class UpBlock(nn.Module):
    """Double the size, join the skip connection, convolve twice; `(B, C, *S/2), (B, K, *S) -> (B, K, *S)`."""

    def __init__(self, ndim: int, in_channels: int, skip_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.up = CONV_TRANSPOSE[ndim](in_channels, skip_channels, kernel_size=2, stride=2)
        self.conv = DoubleConv(ndim, 2 * skip_channels, skip_channels, dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Join `x` from below with `skip` from the encoder."""
        joined: Tensor = self.conv(torch.cat([skip, self.up(x)], dim=1))
        return joined


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm, and a shortcut around them; `(B, C, *S) -> (B, K, *S)`.

    Paper: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385.
    The shortcut is the identity if the number of channels stays, else a 1x1 convolution with batch norm.

    Args:
        ndim: Spatial axes.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Size of both kernels, odd.
    """

    def __init__(self, ndim: int, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        conv, norm = CONV[ndim], BATCH_NORM[ndim]
        self.first = ConvBlock(ndim, in_channels, out_channels, kernel_size)
        self.second = nn.Sequential(
            conv(out_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False), norm(out_channels)
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(conv(in_channels, out_channels, 1, bias=False), norm(out_channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Add shortcut and convolutions and apply ReLU."""
        joined: Tensor = self.relu(self.second(self.first(x)) + self.shortcut(x))
        return joined
