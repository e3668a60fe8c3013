"""U-Net for 2D and 3D images.

Paper: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
https://arxiv.org/abs/1505.04597.

Differs from the paper: padded convolutions, batch normalisation, and widths that start at 32.
"""

from itertools import pairwise
from typing import Annotated, ClassVar, Self

from pydantic import Field
from torch import Tensor, nn

from segcli.core.types import IOSpec, Positive
from segcli.models import Network
from segcli.nn.blocks import DoubleConv, UpBlock
from segcli.nn.dims import CONV, CONV_TRANSPOSE, POOL
from segcli.nn.layers import LayerKeys, Layers

__all__ = ["UNet"]

ALIASES = ("unet2d", "unet3d")


class UNet(Network):
    """Encoder and decoder joined by skip connections.

    Shape:
        `(B, in_channels, *S) -> {"mask": (B, K, *S)}`; each size in `S` is a multiple of `stride`.
    """

    class Config(LayerKeys):
        """Keys of `model: {type: unet}`."""

        other_keys: ClassVar[dict[str, str]] = {
            "features": "depths",
            "channels": "depths",
            "filters": "depths",
            "widths": "depths",
            "base_channels": "depths",
            "init_features": "depths",
            "base_filters": "depths",
        }

        depths: Annotated[list[Positive], Field(min_length=2)] = [32, 64, 128, 256, 512]
        """Channels at each level, from full resolution down to the bottleneck."""
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
        """Dropout rate of channels at the end of each double convolution, in training."""
        stem_stride: Positive = 1
        """Stride of the first convolution, such as 2: the network works at half the resolution, with a quarter of the
        computation (in 2D) and twice the receptive field. The mask keeps the full resolution."""

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(depths=[4, 8])

    def __init__(self, config: Config, *, io: IOSpec) -> None:
        super().__init__(io)
        widths, side, layers = config.depths, config.stem_stride, Layers.of(config)
        self.stride = side * 2 ** (len(widths) - 1)
        self.pool = POOL[io.ndim](2)
        first = io.in_channels * side**io.ndim
        self.stem = CONV[io.ndim](io.in_channels, first, side, stride=side) if side > 1 else nn.Identity()
        self.down = nn.ModuleList(
            DoubleConv(io.ndim, below, here, config.dropout, layers) for below, here in pairwise([first, *widths])
        )
        self.bottom: nn.Module = nn.Identity()
        self.up = nn.ModuleList(UpBlock(io.ndim, deep, skip, config.dropout, layers) for skip, deep in pairwise(widths))
        head = CONV_TRANSPOSE if side > 1 else CONV
        self.head = head[io.ndim](widths[0], io.outputs[io.pixels], kernel_size=side, stride=side)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw logits of the mask."""
        skips: list[Tensor] = []
        x = self.stem(image)
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        x = self.bottom(x)
        for skip, block in zip(reversed(skips[:-1]), reversed(self.up), strict=True):
            x = block(x, skip)
        return {self.io.pixels: self.head(x)}
