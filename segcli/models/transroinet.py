"""TransRoiNet: RoiNet with transformer blocks in its bottleneck.

Source: as RoiNet. 32,297,537 parameters for 3 channels and one mask: RoiNet with 30,718,017, and two transformer
blocks with 789,760 each (256 channels, an MLP of four times the width). The vessel pipeline before this project stated
35 to 40 million, without a list of its layers. The layers of the description do not reach that number. A learned
position for each of the 16,384 tokens of a 512x512 image would add 4,194,304, and would fix the image size.

At 512x512 the bottleneck has 16,384 tokens. Their attention matrix would take 8 GiB per image; it is computed in blocks
and never held in memory (`benchmarks/transroinet_memory.py`).
"""

from typing import Annotated, Self

from pydantic import Field
from torch import nn

from segcli.core.types import Positive
from segcli.models.roinet import RoiNet
from segcli.nn.attention import TransformerEncoder, check_heads

__all__ = ["TransRoiNet"]


class TransRoiNet(RoiNet):
    """RoiNet with self-attention over all pixels between the two bottleneck blocks.

    Shape:
        `(B, in_channels, *S) -> {"mask": (B, K, *S)}`; each size in `S` is a multiple of 4.

    Raises:
        ConfigError: The channels in the bottleneck are not a multiple of the heads.
    """

    class Config(RoiNet.Config):
        """Keys of `model: {type: transroinet}`."""

        transformer_depth: Positive = 2
        """Number of transformer blocks."""
        transformer_heads: Positive = 8
        """Attention heads of a block; must divide twice the third entry of `depths`."""
        transformer_mlp_ratio: Annotated[float, Field(gt=0.0)] = 4.0
        """Hidden width of a block's MLP, as a multiple of the channels."""
        transformer_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
        """Dropout rate of the transformer blocks, in training."""

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(depths=[4, 4, 4, 4, 4, 4], kernel_size=3, transformer_depth=1, transformer_heads=2)

    def between(self, config: RoiNet.Config, channels: int) -> nn.Module:
        """Build the transformer blocks."""
        assert isinstance(config, TransRoiNet.Config)
        check_heads(channels, config.transformer_heads)
        return TransformerEncoder(
            channels,
            depth=config.transformer_depth,
            heads=config.transformer_heads,
            mlp_ratio=config.transformer_mlp_ratio,
            dropout=config.transformer_dropout,
        )
