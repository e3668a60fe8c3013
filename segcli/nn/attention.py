"""Attention on feature maps, for 2D and 3D."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segcli.core.errors import ConfigError
from segcli.nn.dims import CONV

__all__ = ["SpatialAttention", "TransformerBlock", "TransformerEncoder", "check_heads"]


def check_heads(channels: int, heads: int) -> None:
    """Make sure that the number of channels is a multiple of the number of attention heads.

    Raises:
        ConfigError: It is not.
    """
    if channels % heads:
        raise ConfigError(
            f"`model.transformer_heads` is {heads}, the transformer's {channels} channels are not a multiple of it",
            hint="choose another number of heads, or other `model.depths`",
        )


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and MLP, each with a residual connection; `(B, N, C) -> (B, N, C)`.

    Paper: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762; pre-norm as in Dosovitskiy et al., 2020,
    https://arxiv.org/abs/2010.11929.

    The attention matrix of N tokens is never held in memory: `scaled_dot_product_attention` computes it in blocks, on
    the CPU and on a GPU. On the CPU this kernel has no dropout. So dropout is applied after the projection and in the
    MLP, never to the attention matrix.

    Args:
        channels: Channels C of a token, a multiple of `heads`.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP, as a multiple of C.
        dropout: Dropout rate in training.
    """

    def __init__(self, channels: int, *, heads: int = 8, mlp_ratio: float = 4.0, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)
        self.norm_mlp = nn.LayerNorm(channels)
        hidden = int(channels * mlp_ratio)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, channels),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply attention and MLP to the tokens."""
        tokens = tokens + self.dropout(self.projection(self._attended(self.norm_attention(tokens))))
        changed: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return changed

    def _attended(self, tokens: Tensor) -> Tensor:
        split = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class TransformerEncoder(nn.Module):
    """Transformer blocks on a feature map; each pixel is a token; `(B, C, *S) -> (B, C, *S)`.

    There is no positional encoding: the convolutions around the blocks carry the position, and any size works.
    """

    def __init__(
        self, channels: int, *, depth: int, heads: int = 8, mlp_ratio: float = 4.0, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(TransformerBlock(channels, heads=heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a feature map of the same size."""
        tokens = self.blocks(x.flatten(2).transpose(1, 2))
        seen: Tensor = tokens.transpose(1, 2).unflatten(2, x.shape[2:])
        return seen


class SpatialAttention(nn.Module):
    """Multiply each position by a learned weight from 0 to 1; `(B, C, *S) -> (B, C, *S)`.

    Paper: Woo et al., "CBAM", ECCV 2018, https://arxiv.org/abs/1807.06521: mean and maximum over the channels, one
    convolution, sigmoid.
    """

    def __init__(self, ndim: int, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = CONV[ndim](2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted feature map."""
        summary = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        weighted: Tensor = x * self.conv(summary).sigmoid()
        return weighted
