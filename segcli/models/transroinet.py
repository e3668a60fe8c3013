"""TransRoiNet: RoiNet with transformer blocks at its bottom.

Source: as RoiNet. 32,297,537 parameters for 3 channels and one mask.

At 512x512 the bottom has 16,384 tokens, whose scores would take 8 GiB per image; they are worked through in blocks and
never held (`benchmarks/transroinet_memory.py`).
"""

from typing import Annotated, Self

from pydantic import Field
from torch import nn

from segcli.core.types import Positive
from segcli.models.roinet import RoiNet
from segcli.nn.attention import TransformerEncoder, check_heads

__all__ = ["TransRoiNet"]


class TransRoiNet(RoiNet):
    """RoiNet whose bottom pixels all see each other, between the two bottom blocks.

    Shape:
        `(B, in_channels, *S) -> {"mask": (B, K, *S)}`; each size in `S` is a multiple of 4.

    Raises:
        ConfigError: The channels at the bottom cannot be shared out to the heads.
    """

    class Config(RoiNet.Config):
        """Keys of `model: {type: transroinet}`."""

        transformer_depth: Positive = 2
        """Transformer blocks."""
        transformer_heads: Positive = 8
        """Attention heads of a block; twice the third depth is a multiple of it."""
        transformer_mlp_ratio: Annotated[float, Field(gt=0.0)] = 4.0
        """Width of a block's perceptron in multiples of the channels."""
        transformer_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
        """Share of values that the blocks drop while training."""

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(depths=[4, 4, 4, 4, 4, 4], kernel_size=3, transformer_depth=1, transformer_heads=2)

    def between(self, config: RoiNet.Config, channels: int) -> nn.Module:
        """Transformer blocks."""
        assert isinstance(config, TransRoiNet.Config)
        check_heads(channels, config.transformer_heads)
        return TransformerEncoder(
            channels,
            depth=config.transformer_depth,
            heads=config.transformer_heads,
            mlp_ratio=config.transformer_mlp_ratio,
            dropout=config.transformer_dropout,
        )
