"""SADAAN: masks of several structures, and for each structure a prediction of its presence.

An encoder-decoder computes a feature map. Each structure has an attention map on it, weighted by a learned position
prior. The agreement of attention and features, together with the pooled features, predicts whether the structure is
present. This prediction opens or closes a gate on the mask of the structure.

The logits of a mask are multiplied by attention and gate, and a bias is subtracted in proportion to how closed they
are. The product alone would give a logit of 0, a probability of 0.5, wherever there is no attention.
"""

from itertools import pairwise
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from segcli.core.errors import ConfigError
from segcli.core.types import IOSpec, Positive, Share
from segcli.models import Network
from segcli.nn.blocks import ConvBlock, DoubleConv, UpBlock
from segcli.nn.dims import ADAPTIVE_MAX_POOL, CONV, INTERPOLATION, POOL
from segcli.nn.layers import LayerKeys, Layers

__all__ = ["SADAAN"]

SURE_PRIOR = 2.0
"""Initial logit of the position prior: at the start of training every position is probable."""
FIRST_PRESENCE = 1.0
"""Initial logit of presence: gates start open, so that masks are learnt from the first step."""
GATE_SLOPE = 10.0


class SADAAN(Network):
    """Encoder-decoder with attention, presence and confidence for each structure.

    Shape:
        `(B, in_channels, *S)` to `mask` and `attention` `(B, K, *S)` and `presence`, `gate` and `confidence` `(B, K)`;
        each size in `S` is a multiple of `stride`. `gate` is above 0 where a structure is predicted as present.
    """

    can_output = ("mask", "presence", "gate", "attention", "confidence")

    class Config(LayerKeys):
        """Keys of `model: {type: sadaan}`."""

        depths: Annotated[list[Positive], Field(min_length=2)] = [32, 64, 128, 256, 512]
        """Channels at each level, from full resolution down to the bottleneck."""
        features: Positive = 256
        """Channels of the feature map that all structures share."""
        hidden: Positive = 32
        """Hidden units of each structure's presence and confidence head."""
        prior_size: Annotated[list[Positive], Field(min_length=2, max_length=3)] | None = None
        """Grid size of the learned position prior, 16 along each axis when left out; it is resized to the image."""
        presence_threshold: Share = 0.5
        """A structure is predicted as present if its probability is at least this."""
        absence_bias: Annotated[float, Field(ge=0.0)] = 5.0
        """Subtracted from the mask logits of structures predicted as absent, and where there is no attention."""
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
        """Dropout rate of channels at the end of each double convolution, in training."""

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(depths=[4, 8], features=8, hidden=4)

    def __init__(self, config: Config, *, io: IOSpec) -> None:
        super().__init__(io)
        ndim, widths, structures = io.ndim, config.depths, io.outputs[io.pixels]
        self.config, layers = config, Layers.of(config)
        self.stride = 2 ** (len(widths) - 1)
        self.pool = POOL[ndim](2)
        self.down = nn.ModuleList(
            DoubleConv(ndim, below, here, config.dropout, layers) for below, here in pairwise([io.in_channels, *widths])
        )
        self.up = nn.ModuleList(UpBlock(ndim, deep, skip, config.dropout, layers) for skip, deep in pairwise(widths))
        self.features = ConvBlock(ndim, widths[0], config.features, 1, layers)
        self.head = CONV[ndim](config.features, structures, kernel_size=1)
        self.attention = CONV[ndim](config.features, structures, kernel_size=1)
        self.response = CONV[ndim](config.features, structures, kernel_size=1)
        grid = config.prior_size or [16] * ndim
        if len(grid) != ndim:
            raise ConfigError(f"model `SADAAN`: `prior_size` has {len(grid)} sizes, the images have {ndim} axes")
        self.prior = nn.Parameter(torch.full((1, structures, *grid), SURE_PRIOR))
        self.presence = _HeadPerStructure(structures, 2 * config.features + 1, config.hidden)
        self.confidence = (
            _HeadPerStructure(structures, 2 * config.features + 1, config.hidden)
            if "confidence" in io.outputs
            else None
        )
        bias = self.presence.out.bias
        assert bias is not None
        nn.init.constant_(bias, FIRST_PRESENCE)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw logits of the requested outputs by name."""
        features = self.features(self._decoded(image))
        prior = F.interpolate(
            self.prior, size=features.shape[2:], mode=INTERPOLATION[self.io.ndim], align_corners=False
        )
        attention = _logit_of_product(self.attention(features), prior)
        weight = attention.sigmoid()
        axes = tuple(range(2, features.ndim))  # not flattened: that would copy a channels-last tensor
        alignment = (weight * self.response(features).sigmoid()).mean(axes)
        highest = ADAPTIVE_MAX_POOL[self.io.ndim](features, 1).flatten(1)
        pooled = torch.cat([features.mean(axes), highest], dim=1)
        evidence = torch.cat([pooled.unsqueeze(1).expand(-1, alignment.shape[1], -1), alignment.unsqueeze(2)], dim=2)
        presence = self.presence(evidence)
        gate = GATE_SLOPE * (presence.sigmoid() - self.config.presence_threshold)
        spread = [*gate.shape, *[1] * self.io.ndim]
        opened = weight * gate.sigmoid().view(spread)
        outputs = {
            self.io.pixels: self.head(features) * opened - self.config.absence_bias * (1.0 - opened),
            "presence": presence,
            "gate": gate,
            "attention": attention,
        }
        if self.confidence is not None:
            outputs["confidence"] = self.confidence(evidence)
        return {name: outputs[name] for name in self.io.outputs}

    def _decoded(self, image: Tensor) -> Tensor:
        skips: list[Tensor] = []
        x = image
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        for skip, block in zip(reversed(skips[:-1]), reversed(self.up), strict=True):
            x = block(x, skip)
        return x


class _HeadPerStructure(nn.Module):
    """A small multilayer perceptron for each structure, all computed at once; `(B, K, E) -> (B, K)`."""

    def __init__(self, structures: int, evidence: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Conv1d(structures * evidence, structures * hidden, kernel_size=1, groups=structures)
        self.out = nn.Conv1d(structures * hidden, structures, kernel_size=1, groups=structures)

    def forward(self, evidence: Tensor) -> Tensor:
        """Return one logit for each structure."""
        logits: Tensor = self.out(F.relu(self.hidden(evidence.flatten(1).unsqueeze(2)))).squeeze(2)
        return logits


def _logit_of_product(first: Tensor, second: Tensor) -> Tensor:
    """Compute the logit of the product of two sigmoids; stable where one of them is near 0 or 1.

    `1 / (s(a) s(b)) - 1 = exp(-a) + exp(-b) + exp(-a - b)`.
    """
    second = second.expand_as(first)
    return -torch.stack([-first, -second, -first - second]).logsumexp(0)
