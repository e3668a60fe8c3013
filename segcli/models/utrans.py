"""UTrans: a U-Net with transformer blocks in the bottleneck.

After Petit et al., "U-Net Transformer", MLMI 2021, https://arxiv.org/abs/2103.06104, and Chen et al., "TransUNet",
2021, https://arxiv.org/abs/2102.04306.

Differs from the papers: self-attention in the bottleneck only, between two double convolutions, without positional
encoding. 100,300,993 parameters for 3 channels and one mask.
"""

from typing import Annotated, Self

from pydantic import Field
from torch import nn

from segcli.core.types import IOSpec, Positive
from segcli.models.unet import UNet
from segcli.nn.attention import TransformerEncoder, check_heads
from segcli.nn.blocks import DoubleConv
from segcli.nn.layers import Layers

__all__ = ["UTrans"]


class UTrans(UNet):
    """U-Net with self-attention over all pixels of the bottleneck.

    Shape:
        `(B, in_channels, *S) -> {"mask": (B, K, *S)}`; each size in `S` is a multiple of `stride`.

    Raises:
        ConfigError: The channels in the bottleneck are not a multiple of the heads.
    """

    class Config(UNet.Config):
        """Keys of `model: {type: utrans}`."""

        depths: Annotated[list[Positive], Field(min_length=2)] = [64, 128, 256, 512, 1024]
        """Channels at each level, from full resolution down to the bottleneck."""
        transformer_depth: Positive = 4
        """Number of transformer blocks."""
        transformer_heads: Positive = 8
        """Attention heads of a block; must divide the channels in the bottleneck."""
        transformer_mlp_ratio: Annotated[float, Field(gt=0.0)] = 4.0
        """Hidden width of a block's MLP, as a multiple of the channels."""
        transformer_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
        """Dropout rate of the transformer blocks, in training."""

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(depths=[4, 8], transformer_depth=1, transformer_heads=2)

    def __init__(self, config: Config, *, io: IOSpec) -> None:
        super().__init__(config, io=io)
        width = config.depths[-1]
        check_heads(width, config.transformer_heads)
        self.bottom = nn.Sequential(
            TransformerEncoder(
                width,
                depth=config.transformer_depth,
                heads=config.transformer_heads,
                mlp_ratio=config.transformer_mlp_ratio,
                dropout=config.transformer_dropout,
            ),
            DoubleConv(io.ndim, width, width, config.dropout, Layers.of(config)),
        )
