"""RoiNet: residual blocks with large kernels on three levels.

Source: the public vessel-segmentation projects around RoiNet (no paper), which derive it from FRNet, and the
description that this project keeps. 30,718,017 parameters for 3 channels and one mask, counted from that description;
convolutions before a batch norm have no bias, 1x1, transposed and final convolutions do.

Most of the time goes into the 9x9 kernels. Measured forward and backward on two CPU cores
(`benchmarks/large_kernels.py`, a block of 64 channels at 128² and 256²), relative to PyTorch's default layout:
channels-last is 1.03 to 1.09 times as fast, channels-last with bf16 1.8 to 2.0 times, nine 1x9 convolutions 0.6 times,
FFT convolution 0.06 to 0.09 times. So the convolution stays one call, channels-last is the default, and
`training.amp: bf16` is the user's choice.
"""

from typing import Annotated, Self

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from segcli.core.types import IOSpec, Positive
from segcli.models import Network
from segcli.nn.blocks import ConvBlock, ResidualBlock
from segcli.nn.dims import CONV, CONV_TRANSPOSE, POOL
from segcli.nn.layers import LayerKeys, Layers

__all__ = ["RoiNet"]


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"must be odd, got {size}")
    return size


def _halvable(depths: list[int]) -> list[int]:
    if depths[3] % 2 or depths[4] % 2:
        raise ValueError(f"the fourth and fifth number must be even, because the decoder halves them, got {depths}")
    return depths


class RoiNet(Network):
    """Encoder and decoder of residual blocks, with extra blocks in the bottleneck at a quarter of the resolution.

    Shape:
        `(B, in_channels, *S) -> {"mask": (B, K, *S)}`; each size in `S` is a multiple of 4.
    """

    stride = 4

    class Config(LayerKeys):
        """Keys of `model: {type: roinet}`."""

        depths: Annotated[list[Positive], Field(min_length=6, max_length=6), AfterValidator(_halvable)] = [
            *(32, 64, 128),
            *(128, 64, 32),
        ]
        """Channels of the six residual blocks outside the bottleneck, from the input to the head."""
        kernel_size: Annotated[Positive, AfterValidator(_odd)] = 9
        """Kernel size of the residual blocks, odd."""

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(depths=[4, 4, 4, 4, 4, 4], kernel_size=3)

    def __init__(self, config: Config, *, io: IOSpec) -> None:
        super().__init__(io)
        ndim, (first, second, third, fourth, fifth, last), layers = io.ndim, config.depths, Layers.of(config)

        def residual(in_channels: int, out_channels: int) -> ResidualBlock:
            return ResidualBlock(ndim, in_channels, out_channels, config.kernel_size, layers)

        def halved(channels: int) -> nn.Sequential:
            return nn.Sequential(POOL[ndim](2), CONV[ndim](channels, 2 * channels, kernel_size=1))

        def doubled(channels: int) -> nn.Module:
            return CONV_TRANSPOSE[ndim](channels, channels // 2, kernel_size=2, stride=2)

        self.down0 = residual(io.in_channels, first)
        self.down1 = nn.Sequential(residual(first, second), halved(second))
        self.down2 = nn.Sequential(residual(2 * second, third), halved(third))
        self.bottom = nn.Sequential(
            residual(2 * third, 2 * third), self.between(config, 2 * third), residual(2 * third, 2 * third)
        )
        self.merge2 = ConvBlock(ndim, 4 * third, 2 * third, layers=layers)
        self.up1 = nn.Sequential(residual(2 * third, fourth), doubled(fourth))
        self.merge1 = ConvBlock(ndim, fourth // 2 + 2 * second, second, layers=layers)
        self.up0 = nn.Sequential(residual(second, fifth), doubled(fifth))
        self.merge0 = ConvBlock(ndim, fifth // 2 + first, first, layers=layers)
        self.last = residual(first, last)
        self.head = CONV[ndim](last, io.outputs[io.pixels], kernel_size=1)

    def between(self, config: Config, channels: int) -> nn.Module:
        """Build the module between the two bottleneck blocks."""
        return nn.Identity()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw logits of the mask."""
        full = self.down0(image)
        half = self.down1(full)
        quarter = self.down2(half)
        x = self.merge2(torch.cat([self.bottom(quarter), quarter], dim=1))
        x = self.merge1(torch.cat([self.up1(x), half], dim=1))
        x = self.merge0(torch.cat([self.up0(x), full], dim=1))
        return {self.io.pixels: self.head(self.last(x))}
