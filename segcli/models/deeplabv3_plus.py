"""DeepLabV3+ on a ResNet of TorchVision.

Paper: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018,
https://arxiv.org/abs/1802.02611.

Differs from the paper: a ResNet instead of Xception, plain instead of separable convolutions, and no batch norm after
the image pooling: its output is one pixel per image, so a batch of one image has no batch statistics.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from segcli.core.types import ConfigModel, FilePath, IOSpec, Positive, Sha256
from segcli.models import Network
from segcli.nn.pairing import paired_names
from segcli.nn.resnet import ResNet
from segcli.nn.state_dict import read_state_dict

__all__ = ["DeepLabV3Plus"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
RATES = (6, 12, 18)
"""Dilation rates of the atrous spatial pyramid pooling (ASPP) at output stride 16."""
LOW_CHANNELS = 48


class DeepLabV3Plus(Network):
    """Atrous spatial pyramid pooling (ASPP) on deep features, and a decoder that adds low-level features.

    Shape:
        `(B, in_channels, H, W) -> {"mask": (B, K, H, W)}`; H and W are multiples of 16.
    """

    can_ndim = (2,)
    stride = 16

    class Config(ConfigModel):
        """Keys of `model: {type: deeplabv3_plus}`."""

        backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
        """Backbone that computes the features."""
        output_stride: Literal[8, 16] = 16
        """Downsampling factor of the deep features; 8 is finer and takes about twice the memory of 16."""
        activation: Literal["relu", "leaky_relu", "silu", "gelu"] = "relu"
        """Activation of ASPP and decoder; the backbone keeps ReLU."""
        weights: Literal["imagenet"] | FilePath | None = None
        """Pretrained weights: `imagenet` (TorchVision's file in PyTorch's cache; nothing is downloaded) or a state dict
        in TorchVision's format for the backbone, or an earlier run or file for the whole network."""
        weights_sha256: Sha256 | None = None
        """SHA-256 that the file of `weights` must have, as `sha256sum` prints it."""
        channels: Positive = 256
        """Channels of ASPP and decoder."""
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
        """Dropout rate of channels before the head, in training."""

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(backbone="resnet18", channels=8)

    def __init__(self, config: Config, *, io: IOSpec) -> None:
        super().__init__(io)
        self.weights, self.weights_sha256 = config.weights, config.weights_sha256
        width, activation = config.channels, ACTIVATIONS[config.activation]
        self.backbone = ResNet(config.backbone, in_channels=io.in_channels, output_stride=config.output_stride)
        deep = self.backbone.deep_channels

        def conv(in_channels: int, out_channels: int, kernel_size: int, rate: int = 1) -> nn.Sequential:
            padding = rate * (kernel_size // 2)
            return nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=rate, bias=False),
                nn.BatchNorm2d(out_channels),
                activation(),
            )

        rates = [rate * 16 // config.output_stride for rate in RATES]
        self.pyramid = nn.ModuleList([conv(deep, width, 1), *(conv(deep, width, 3, rate) for rate in rates)])
        self.pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(deep, width, 1), activation())
        self.project = conv(width * (len(self.pyramid) + 1), width, 1)
        self.low = conv(self.backbone.low_channels, LOW_CHANNELS, 1)
        self.decoder = nn.Sequential(
            conv(width + LOW_CHANNELS, width, 3), conv(width, width, 3), nn.Dropout2d(config.dropout)
        )
        self.head = nn.Conv2d(width, io.outputs[io.pixels], kernel_size=1)

    def load_pretrained(self) -> list[str] | None:
        """Load the weights that the config names into the backbone, unless they are those of a whole network."""
        if self.weights is None or self._is_whole(self.weights):
            return None
        self.backbone.load_pretrained(self.weights, sha256=self.weights_sha256)
        return []

    def _is_whole(self, weights: str | Path) -> bool:
        """Tell whether a file holds tensors of this network, and not of the backbone alone."""
        if not Path(weights).is_file():
            return False  # `imagenet`, or a file that is missing, which the backbone tells
        own, there = self.state_dict(), read_state_dict(Path(weights), sha256=self.weights_sha256)
        return any(name in own for name in paired_names(there, own, None).tensors)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw logits of the mask."""
        low, deep = self.backbone(image)
        pooled = self.pooling(deep).expand(-1, -1, *deep.shape[2:])
        x = self.project(torch.cat([*(branch(deep) for branch in self.pyramid), pooled], dim=1))
        x = _resized(x, low)
        x = self.decoder(torch.cat([x, self.low(low)], dim=1))
        return {self.io.pixels: _resized(self.head(x), image)}


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
