"""SA-UNet: a small U-Net with spatial attention and DropBlock.

Paper: Guo et al., "SA-UNet: Spatial Attention U-Net for Retinal Vessel Segmentation", ICPR 2020,
https://arxiv.org/abs/2004.03696. 537,299 parameters for 3 channels and one mask, counted layer by layer from the
authors' Keras code (which reports 538,707 with the running statistics of its batch norms; the paper says 0.54 M).

Differs from the authors' code: the keep probability of DropBlock falls during the training, as in the DropBlock paper
(`drop_ramp: 0` keeps it constant).
"""

from itertools import pairwise
from typing import Annotated, Self

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from segcli.core.types import IOSpec, Positive, Share
from segcli.models import Network
from segcli.nn.attention import SpatialAttention
from segcli.nn.dims import CONV, CONV_TRANSPOSE, POOL
from segcli.nn.dropblock import DropBlock
from segcli.nn.layers import LayerKeys, Layers

__all__ = ["SAUNet"]


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"must be odd, got {size}")
    return size


class SAUNet(Network):
    """U-Net with few channels and spatial attention in the bottleneck.

    Shape:
        `(B, in_channels, *S) -> {"mask": (B, K, *S)}`; each size in `S` is a multiple of `stride`.
    """

    class Config(LayerKeys):
        """Keys of `model: {type: sa_unet}`."""

        depths: Annotated[list[Positive], Field(min_length=2)] = [16, 32, 64, 128]
        """Channels at each level, from full resolution down to the bottleneck."""
        block_size: Annotated[Positive, AfterValidator(_odd)] = 7
        """Side of the square regions that DropBlock drops, in pixels of the feature map, odd."""
        keep_prob: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
        """Share of values that DropBlock keeps; the authors use 0.82 for DRIVE and 0.87 for CHASE_DB1."""
        drop_ramp: Share = 1.0
        """Share of the training during which the kept share falls from 1 to `keep_prob`; 0 keeps it constant."""

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(depths=[4, 8])

    def __init__(self, config: Config, *, io: IOSpec) -> None:
        super().__init__(io)
        ndim, widths, layers = io.ndim, config.depths, Layers.of(config)
        self.stride = 2 ** (len(widths) - 1)
        self.pool = POOL[ndim](2)

        def conv(in_channels: int, out_channels: int) -> nn.Sequential:
            return nn.Sequential(
                CONV[ndim](in_channels, out_channels, kernel_size=3, padding=1),
                DropBlock(ndim, block_size=config.block_size, keep_prob=config.keep_prob, ramp=config.drop_ramp),
                layers.norm(ndim, out_channels),
                layers.activation(),
            )

        levels = [io.in_channels, *widths]
        self.down = nn.ModuleList(
            nn.Sequential(conv(below, here), conv(here, here)) for below, here in pairwise(levels[:-1])
        )
        self.bottom = nn.Sequential(
            conv(widths[-2], widths[-1]), SpatialAttention(ndim, kernel_size=7), conv(widths[-1], widths[-1])
        )
        self.up = nn.ModuleList(
            CONV_TRANSPOSE[ndim](deep, skip, kernel_size=3, stride=2, padding=1, output_padding=1)
            for skip, deep in pairwise(widths)
        )
        self.join = nn.ModuleList(nn.Sequential(conv(2 * skip, skip), conv(skip, skip)) for skip in widths[:-1])
        self.head = CONV[ndim](widths[0], io.outputs[io.pixels], kernel_size=1)

    def progressed(self, share: float) -> None:
        """Advance the schedule of DropBlock."""
        for module in self.modules():
            if isinstance(module, DropBlock):
                module.progressed(share)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw logits of the mask."""
        skips: list[Tensor] = []
        x = image
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for skip, up, join in zip(reversed(skips), reversed(self.up), reversed(self.join), strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        return {self.io.pixels: self.head(x)}
