"""VGG for volumes: one class for a whole image.

Paper: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
https://arxiv.org/abs/1409.1556.

Differs from the paper: volumes, batch normalisation, and convolutions without bias.
"""

import math
from itertools import pairwise
from typing import Annotated, Any, Self

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.types import ConfigModel, IOSpec, Positive
from segcli.models import Network
from segcli.nn.dims import BATCH_NORM, CONV, POOL
from segcli.nn.freezing import Freezing

__all__ = ["VGG3D"]

FEATURES = "features."
KERNEL_AXES = 5
"""Axes of the weights of a 3D convolution."""
LAYERS_PER_CONVOLUTION = 3
WIDTHS = (32, 16, 8, 4)
"""Proposed channels of the first block; the hidden layers of the classifier have eight times as many units."""
MOST_HALVINGS = 5
"""Largest number of proposed blocks, as many as the default has."""


class VGG3D(Network):
    """Blocks of convolution, batch norm and ReLU, each followed by max-pooling; then three fully connected layers.

    The width of the first fully connected layer depends on the image size, so all images must have the same size.

    Shape:
        `(B, in_channels, *S) -> {"class": (B, K)}` for the one `S` that the network was made for.
    """

    can_output = ("class",)
    can_ndim = (3,)
    needs_size = True
    begins_anew = ("classifier.*",)

    class Config(ConfigModel):
        """Keys of `model: {type: vgg3d}`."""

        depths: Annotated[list[Positive], Field(min_length=1)] = [32, 64, 128, 256, 512]
        """Channels of each block."""
        convolutions: Positive | Annotated[list[Positive], Field(min_length=1)] = 2
        """Convolutions in each block: one number for all, or a number for each, such as `[2, 2, 3, 3, 3]`."""
        classifier_size: Positive = 4096
        """Units in each of the two hidden layers of the classifier."""
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
        """Dropout rate of the hidden layers, in training."""
        keep_classifier: bool = False
        """Also load the classifier layers of the file in `weights` that have the same shape as in this network."""
        freeze_features: bool = False
        """Freeze the convolutions; their batch norms keep their running statistics."""
        freeze: list[str] = []
        """Parameters to freeze, by name or pattern, such as `features.0.*`."""
        unfreeze_every: Positive | None = None
        """Number of epochs after which the last frozen block is unfrozen; after as many again, the block before it, and
        so on. Nothing is unfrozen when left out."""

        @field_validator("convolutions")
        @classmethod
        def _one_for_each_block(cls, given: int | list[int], info: ValidationInfo) -> int | list[int]:
            depths = info.data.get("depths")
            if isinstance(given, list) and depths is not None and len(given) != len(depths):
                raise ValueError(f"has {len(given)} numbers for the {len(depths)} blocks of `depths`")
            return given

        @property
        def counts(self) -> list[int]:
            """Return the number of convolutions of each block."""
            given = self.convolutions
            return given if isinstance(given, list) else [given] * len(self.depths)

        @classmethod
        def small(cls) -> Self:
            """Choose few channels."""
            return cls(depths=[4, 8], convolutions=1, classifier_size=16, dropout=0.0)

    def __init__(self, config: Config, *, io: IOSpec) -> None:
        super().__init__(io)
        self.config = config
        if io.size is None:
            raise ConfigError(
                "model `VGG3D` needs images of one size", hint="set `data.image_size`, or `crop_size` of the data set"
            )
        halvings = len(config.depths)
        if min(io.size) < 2**halvings:
            raise ConfigError(
                f"model `VGG3D` halves its input {halvings} times, and images of "
                f"{'x'.join(map(str, io.size))} voxels are too small for that",
                hint=_way_to_fit(config, min(io.size)),
            )
        layers: list[nn.Module] = []
        self.blocks: list[range] = []
        """Indices of each block's layers in `features`."""
        channels = io.in_channels
        for width, count in zip(config.depths, config.counts, strict=True):
            first = len(layers)
            for _ in range(count):
                layers += [
                    CONV[io.ndim](channels, width, kernel_size=3, padding=1, bias=False),
                    BATCH_NORM[io.ndim](width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
            layers.append(POOL[io.ndim](2))
            self.blocks.append(range(first, len(layers)))
        self.features = nn.Sequential(*layers)
        hidden = config.classifier_size
        self.classifier = nn.Sequential(
            nn.Linear(_width(self.features, (io.in_channels, *io.size)), hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, io.outputs["class"]),
        )
        self._begin()
        self._check_freezing()

    @classmethod
    def sized(cls, io: IOSpec, most: int, config: Any = None) -> tuple[dict[str, Any], int] | None:
        """Propose `depths` that leave two voxels or more of the shortest axis, and a `classifier_size`."""
        if io.size is None or min(io.size) < 2:
            return None
        base = config or cls.Config()
        halvings = min(max(min(io.size).bit_length() - 2, 1), MOST_HALVINGS)
        found: tuple[dict[str, Any], int] | None = None
        for width in WIDTHS:
            depths = [width * 2**level for level in range(halvings)]
            keys = {**_blocks(depths, base), "classifier_size": 8 * width}
            with torch.device("meta"):  # counts parameters without memory for them
                network = cls(base.model_copy(update={**keys, "freeze": []}), io=io)
            found = keys, sum(parameter.numel() for parameter in network.parameters())
            if found[1] <= most:
                break
        return found

    def _begin(self) -> None:
        """Initialise as TorchVision's VGG: He initialisation for convolutions, small weights for the last layer."""
        for module in self.features:
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.classifier:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier[-1].weight, 0.0, 0.01)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of each class."""
        return {"class": self.classifier(self.features(image).flatten(1))}

    def never_loaded(self) -> tuple[str, ...]:
        """Return the classifier, unless the user keeps it."""
        return () if self.config.keep_classifier else self.begins_anew

    def check_weights(self, tensors: dict[str, Tensor], source: str) -> None:
        """Refuse features whose blocks have other numbers of convolutions: layers would be taken for other layers."""
        theirs, ours = _counted_blocks(tensors), self.config.counts
        if any(one != other for one, other in zip(theirs, ours, strict=False)):
            fitting = theirs[: len(ours)] + ours[len(theirs) :]
            raise CheckpointError(
                f"the blocks of `{source}` have {_listed(theirs)} convolutions, those of `model.convolutions` "
                f"{_listed(ours)}",
                hint=f"set `model.convolutions={fitting}`",
            )

    # ---- freezing

    def parameter_blocks(self) -> list[list[str]]:
        """Return the parameter names of each block, then those of the classifier."""
        groups: list[list[str]] = [[] for _ in range(len(self.blocks) + 1)]
        for name, _ in self.named_parameters():
            inside = name.startswith(FEATURES)
            at = int(name.split(".")[1])
            groups[next(i for i, block in enumerate(self.blocks) if at in block) if inside else -1].append(name)
        return groups

    def frozen(self, epoch: int) -> frozenset[str]:
        """Return the names of the parameters that are frozen in an epoch (first epoch: 0)."""
        config = self.config
        patterns = [*config.freeze, *([f"{FEATURES}*"] if config.freeze_features else [])]
        freezing = Freezing(dict.fromkeys(patterns), config.unfreeze_every, key="model.freeze")
        return freezing.frozen(self.parameter_blocks(), epoch)

    def _check_freezing(self) -> None:
        names = [name for name, _ in self.named_parameters()]
        Freezing(dict.fromkeys(self.config.freeze), key="model.freeze").check(names, ["features", "classifier"])
        if len(self.frozen(0)) == len(names):
            raise ConfigError("`model.freeze` freezes every parameter: nothing would be trained", hint="leave some out")


def _blocks(depths: list[int], config: VGG3D.Config) -> dict[str, Any]:
    """List the keys of these blocks; a number of convolutions for each block is shortened or continued."""
    given = config.convolutions
    if not isinstance(given, list):
        return {"depths": depths}
    return {"depths": depths, "convolutions": (given + given[-1:] * len(depths))[: len(depths)]}


def _way_to_fit(config: VGG3D.Config, shortest: int) -> str:
    """Name the keys with which images of this shortest length are not halved below one voxel."""
    depths = config.depths[: shortest.bit_length() - 1]
    if not depths:
        return "make `crop_size` larger"
    keys = " and ".join(f"`model.{key}: {value}`" for key, value in _blocks(depths, config).items())
    return f"set {keys}, or make `crop_size` larger"


def _counted_blocks(tensors: dict[str, Tensor]) -> list[int]:
    """Count the convolutions of each block of stored features; empty if they are not built like ours.

    A convolution, its batch norm and its ReLU are three layers; the pooling at the end of a block is a fourth.
    """
    names = (name.split(".") for name, value in tensors.items() if value.ndim == KERNEL_AXES)
    at = sorted(int(name[1]) for name in names if len(name) == 3 and f"{name[0]}." == FEATURES and name[1].isdecimal())
    steps = [after - before for before, after in pairwise(at)]
    if not at or not set(steps) <= {LAYERS_PER_CONVOLUTION, LAYERS_PER_CONVOLUTION + 1}:
        return []
    counts = [1]
    for step in steps:
        if step == LAYERS_PER_CONVOLUTION:
            counts[-1] += 1
        else:
            counts.append(1)
    return counts


def _listed(counts: list[int]) -> str:
    return ", ".join(map(str, counts))


def _width(features: nn.Sequential, image: tuple[int, ...]) -> int:
    """Count the values of the feature map of one image `(C, *S)`, from the shape alone.

    No image is computed: a volume would take a while, and in a memory forecast tensors have no values.
    """
    channels, *size = image
    for layer in features:
        if isinstance(layer, nn.Conv3d):
            channels = layer.out_channels
            size = [_after(*each) for each in zip(size, layer.kernel_size, layer.stride, layer.padding, strict=True)]
        elif isinstance(layer, nn.MaxPool3d):
            size = [_after(length, layer.kernel_size, layer.stride, layer.padding) for length in size]
    return channels * math.prod(size)


def _after(length: int, kernel: Any, stride: Any, padding: Any) -> int:
    """Count the positions of a kernel along an axis."""
    places: int = (length + 2 * padding - kernel) // stride + 1
    return places
