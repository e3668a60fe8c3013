"""Convolution blocks for 2D and 3D."""

import torch
from torch import Tensor, nn

from segcli.nn.dims import BATCH_NORM, CONV, CONV_TRANSPOSE, DROPOUT

__all__ = ["DoubleConv", "UpBlock"]


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
