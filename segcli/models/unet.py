"""U-Net for 2D and 3D images.

Paper: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
https://arxiv.org/abs/1505.04597.

Differs from the paper: padded convolutions, batch normalisation, and widths that start at 32.
"""

from itertools import pairwise
from math import prod
from typing import Annotated, ClassVar, Self

from pydantic import Field
from torch import Tensor, nn

from segcli.core.errors import ConfigError
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
        strides: list[Positive | list[Positive]] | None = None
        """Strides between two levels, one entry for each level below the first: a number, or a list with one for each
        axis, such as `[[1, 2, 2], 2, 2]` for slices that lie further apart than their pixels; default: 2 everywhere."""
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
        strides = _strides(config, io.ndim)
        self.stride = side * max(map(prod, zip(*strides, strict=True)))
        self.pool = POOL[io.ndim](2)
        self.pools = [self.pool if set(each) == {2} else POOL[io.ndim](each) for each in strides]
        first = io.in_channels * side**io.ndim
        self.stem = CONV[io.ndim](io.in_channels, first, side, stride=side) if side > 1 else nn.Identity()
        self.down = nn.ModuleList(
            DoubleConv(io.ndim, below, here, config.dropout, layers) for below, here in pairwise([first, *widths])
        )
        self.bottom: nn.Module = nn.Identity()
        self.up = nn.ModuleList(
            UpBlock(io.ndim, deep, skip, config.dropout, layers, stride)
            for (skip, deep), stride in zip(pairwise(widths), strides, strict=True)
        )
        head = CONV_TRANSPOSE if side > 1 else CONV
        self.head = head[io.ndim](widths[0], io.outputs[io.pixels], kernel_size=side, stride=side)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw logits of the mask."""
        skips: list[Tensor] = []
        x = self.stem(image)
        for level, block in enumerate(self.down):
            x = block(self.pools[level - 1](x) if level else x)
            skips.append(x)
        x = self.bottom(x)
        for skip, block in zip(reversed(skips[:-1]), reversed(self.up), strict=True):
            x = block(x, skip)
        return {self.io.pixels: self.head(x)}


def _strides(config: UNet.Config, ndim: int) -> list[tuple[int, ...]]:
    """List the stride between each two levels, with a number for each axis.

    Raises:
        ConfigError: There are more or fewer entries than levels, or numbers than axes.
    """
    below = len(config.depths) - 1
    if config.strides is None:
        return [(2,) * ndim] * below
    strides = [(each,) * ndim if isinstance(each, int) else tuple(each) for each in config.strides]
    if len(strides) != below:
        raise ConfigError(
            f"`model.strides` has {len(strides)} entries, and `model.depths` has {below} levels below the first",
            hint="give one entry for each of them",
        )
    wrong = next((each for each in strides if len(each) != ndim), None)
    if wrong is not None:
        raise ConfigError(f"`model.strides` has an entry {list(wrong)} for images of {ndim} axes")
    return strides
