"""The networks of segmentation-models-pytorch (SMP), with its own encoders and those of timm.

Source: Iakubovskii, "Segmentation Models PyTorch", https://github.com/qubvel-org/segmentation_models.pytorch; Wightman,
"PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.

Differs from the source: nothing is downloaded, layers that are never called are left out, and vision transformers take
images of any size.
"""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from torch import Tensor, nn

from segcli.core.errors import ConfigError, Stopped
from segcli.core.registry import same_name
from segcli.core.types import ConfigModel, FilePath, IOSpec, Positive, Sha256
from segcli.models import Network
from segcli.nn.foreign import least_multiple, really, without_unused
from segcli.nn.zoo import TIMM, cached, check_encoder, library, load_encoder

__all__ = ["SMP"]


@dataclass(frozen=True)
class Architecture:
    """Facts about a network of SMP."""

    name: str
    """Name of the class in SMP."""
    depth: int = 5
    """Number of stages of the encoder."""
    channels: tuple[int, ...] = ()
    """Channels of each stage of the decoder; empty if they are one number, or fixed."""
    widths: tuple[tuple[str, int], ...] = ()
    """Keys of the constructor that follow from one number of channels, each with a factor."""
    attention: bool = False
    """True if the decoder can have attention."""
    strides: tuple[int, ...] = ()
    """Strides of the encoder to choose from; the first one is the default."""


STAGES = (256, 128, 64, 32, 16)
GROUPS = 32
"""Groups of channels that the decoder of `fpn` normalises."""
ARCHITECTURES = {
    "unet": Architecture("Unet", channels=STAGES, attention=True),
    "unet_plus_plus": Architecture("UnetPlusPlus", channels=STAGES, attention=True),
    "manet": Architecture("MAnet", channels=STAGES),
    "linknet": Architecture("Linknet"),
    "fpn": Architecture("FPN", widths=(("decoder_segmentation_channels", 1), ("decoder_pyramid_channels", 2))),
    "pspnet": Architecture("PSPNet", depth=3, widths=(("psp_out_channels", 1),)),
    "deeplabv3": Architecture("DeepLabV3", widths=(("decoder_channels", 1),), strides=(8, 16)),
    "deeplabv3_plus": Architecture("DeepLabV3Plus", widths=(("decoder_channels", 1),), strides=(16, 8)),
    "pan": Architecture("PAN", widths=(("decoder_channels", 1),), strides=(16, 32)),
    "upernet": Architecture("UPerNet", widths=(("decoder_channels", 1),)),
    "segformer": Architecture("Segformer", widths=(("decoder_segmentation_channels", 1),)),
    "dpt": Architecture("DPT", depth=4, widths=(("decoder_fusion_channels", 1),)),
}
DPT_FACTORS = (1, 2, 4, 4)
"""Channels of DPT's projections, in proportion to those of its decoder."""
ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False})
"""Arguments with which encoders of timm that are made for one image size take others; each family knows one of them."""


def _canonical(name: Any) -> Any:
    """Return our name of an architecture; names match without regard to case, `-`, `_` and `+`."""
    return next((each for each in ARCHITECTURES if isinstance(name, str) and same_name(each) == same_name(name)), name)


class SMP(Network):
    """An encoder, and a decoder that one of twelve architectures describes.

    Shape:
        `(B, in_channels, H, W) -> {"mask": (B, K, H, W)}`; H and W are multiples of `stride`.
    """

    can_ndim = (2,)

    class Config(ConfigModel):
        """Keys of `model: {type: smp}`."""

        architecture: Annotated[
            Literal[
                "unet",
                "unet_plus_plus",
                "manet",
                "linknet",
                "fpn",
                "pspnet",
                "deeplabv3",
                "deeplabv3_plus",
                "pan",
                "upernet",
                "segformer",
                "dpt",
            ],
            BeforeValidator(_canonical),
        ] = "unet"
        """Architecture of the decoder, by its name in SMP. `dpt` needs a vision transformer of timm as encoder."""
        encoder: str = "resnet34"
        """Encoder: a name of SMP, such as `resnet34`, `efficientnet-b0` or `mit_b0`, or one of timm after `tu-`, such
        as `tu-convnext_tiny`."""
        encoder_depth: Annotated[int, Field(ge=1, le=5)] | None = None
        """Number of encoder stages, each of which halves the image; default: 5, for `pspnet` 3, for `dpt` 4."""
        encoder_output_stride: Literal[8, 16, 32] | None = None
        """Downsampling factor of the deepest features: 8 or 16 for `deeplabv3` (default 8) and `deeplabv3_plus`
        (default 16), 16 or 32 for `pan` (default 16)."""
        decoder_channels: list[Positive] | Positive | None = None
        """Channels of the decoder; default: those of SMP. A list with a number for each stage, the deepest first, for
        `unet`, `unet_plus_plus` and `manet`; one number for the others; none for `linknet`."""
        decoder_attention_type: Literal["scse"] | None = None
        """Attention in the decoder of `unet` and `unet_plus_plus`: `scse` (spatial and channel squeeze and
        excitation)."""
        weights: (
            Literal[
                "imagenet",
                "ssl",
                "swsl",
                "instagram",
                "advprop",
                "noisy-student",
                "noisy-student-475",
                "imagenet+5k",
                "imagenet+background",
            ]
            | FilePath
            | None
        ) = None
        """Pretrained encoder: a name such as `imagenet` (the file of SMP or timm in the cache of the Hugging Face hub;
        nothing is downloaded), or a file with a state dict of the encoder or of the whole network."""
        weights_sha256: Sha256 | None = None
        """SHA-256 that the file of `weights` must have, as `sha256sum` prints it."""

        @classmethod
        def small(cls) -> Self:
            """Choose few stages and few channels."""
            return cls(encoder="resnet18", encoder_depth=2, decoder_channels=[8, 4])

        @field_validator("encoder")
        @classmethod
        def _known(cls, encoder: str) -> str:
            check_encoder(encoder)
            return encoder

        @model_validator(mode="after")
        def _consistent(self) -> Self:
            facts, told = ARCHITECTURES[self.architecture], f"`architecture: {self.architecture}`"
            if self.decoder_attention_type and not facts.attention:
                raise ValueError(f"{told} has no attention in its decoder: leave `decoder_attention_type` out")
            stride = self.encoder_output_stride
            if stride is not None and stride not in facts.strides:
                legal = f"has {' or '.join(map(str, facts.strides))}" if facts.strides else "has a fixed one"
                raise ValueError(f"{told} {legal}, not `encoder_output_stride: {stride}`")
            if self.architecture == "dpt" and not self.encoder.startswith(TIMM):
                raise ValueError(
                    f"{told} needs a vision transformer of timm, such as `encoder: tu-vit_tiny_patch16_224`"
                )
            self._check_channels(facts, told)
            return self

        def _check_channels(self, facts: Architecture, told: str) -> None:
            channels = self.decoder_channels
            if channels is None:
                return
            if not (facts.channels or facts.widths):
                raise ValueError(f"{told} has fixed channels: leave `decoder_channels` out")
            if isinstance(channels, list) != bool(facts.channels):
                form = "a list with a number for each stage" if facts.channels else "one number"
                raise ValueError(f"{told} takes {form} as `decoder_channels`, got {channels}")
            if (
                self.architecture == "fpn"
                and isinstance(channels, int)
                and (channels % GROUPS or channels < 2 * GROUPS)
            ):
                # a group of one channel has a single value where the decoder sees one pixel, and cannot be normalised
                raise ValueError(f"{told} takes {2 * GROUPS} or a larger multiple of {GROUPS} as `decoder_channels`")
            if isinstance(channels, list) and len(channels) != (self.encoder_depth or facts.depth):
                stages = self.encoder_depth or facts.depth
                raise ValueError(f"`decoder_channels` has {len(channels)} numbers for {stages} stages of the encoder")

    def __init__(self, config: Config, *, io: IOSpec) -> None:
        super().__init__(io)
        self.config = config
        network, self.stride = really(lambda: _made(config, io))
        self.encoder, self.decoder = network.encoder, network.decoder
        self.segmentation_head = network.segmentation_head

    def load_pretrained(self) -> list[str] | None:
        """Load the weights that the config names into the encoder, unless they are those of a whole network."""
        config = self.config
        if config.weights is None:
            return None
        path = config.weights
        if isinstance(path, str):
            path = cached(config.encoder, path, self.encoder)
        named = isinstance(config.weights, str)
        return load_encoder(self, path, name=config.encoder, sha256=config.weights_sha256, only_encoder=named)

    def activation_layers(self) -> list[str]:
        """Return the names of the encoder's blocks, of the decoder and of the head."""
        body = getattr(self.encoder, "model", self.encoder)
        inner = "encoder.model" if body is not self.encoder else "encoder"
        names: list[str] = []
        for name, child in body.named_children():
            spread = isinstance(child, nn.ModuleList | nn.ModuleDict | nn.Sequential)
            blocks = {f"{name}.{key}": block for key, block in child.named_children()} if spread else {name: child}
            names += [f"{inner}.{key}" for key, block in blocks.items() if any(True for _ in block.parameters())]
        return [*names, "decoder", "segmentation_head"]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw logits of the mask."""
        features = self.encoder(image)
        decoded = self.decoder(*features) if self.config.architecture == "dpt" else self.decoder(features)
        return {self.io.pixels: self.segmentation_head(decoded)}


def _made(config: SMP.Config, io: IOSpec) -> tuple[Any, int]:
    """Make the network of SMP with random weights, without what it does not use; also return its stride.

    Raises:
        ConfigError: Architecture and encoder do not fit each other.
    """
    kind = getattr(library().smp, ARCHITECTURES[config.architecture].name)
    arguments = {
        **_arguments(config),
        "encoder_name": config.encoder,
        "encoder_weights": None,
        "in_channels": io.in_channels,
        "classes": io.outputs[io.pixels],
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both packages remark on names that they have renamed
            network = _of_any_size(kind, arguments)
            channels = io.in_channels, io.outputs[io.pixels]
            stride = least_multiple(network, channels, network.encoder.output_stride)
            return without_unused(network, channels, stride), stride
    except (MemoryError, Stopped):
        raise
    except Exception as error:  # of many kinds: each encoder checks what it can do in its own way
        raise ConfigError(
            f"model `smp` cannot join `architecture: {config.architecture}` and `encoder: {config.encoder}` ({error})",
            hint="choose another `model.encoder`, `model.architecture` or `model.encoder_depth`",
        ) from error


def _of_any_size(kind: Any, arguments: dict[str, Any]) -> Any:
    """Make a network that takes images of any size; without that, timm's transformers take one."""
    name = arguments["encoder_name"].removeprefix(TIMM)
    timm = library().timm
    fixed = name != arguments["encoder_name"] and timm.models.get_pretrained_cfg(name)
    if not (fixed and fixed.fixed_input_size):
        return kind(**arguments)
    for more in ANY_SIZE:
        try:
            network = kind(**arguments, **more)
        except TypeError as error:
            if not any(f"'{key}'" in str(error) for key in more):
                raise
            continue
        if arguments.get("decoder_readout") == "cat" and not network.encoder.has_prefix_tokens:
            return kind(**{**arguments, "decoder_readout": "ignore"}, **more)
        return network
    raise ValueError("this encoder takes images of one size only")


def _arguments(config: SMP.Config) -> dict[str, Any]:
    """Translate the keys into arguments of SMP's constructor."""
    facts = ARCHITECTURES[config.architecture]
    depth = config.encoder_depth or facts.depth
    arguments: dict[str, Any] = {"encoder_depth": depth}
    if facts.channels:
        arguments["decoder_channels"] = config.decoder_channels or list(facts.channels[:depth])
    elif isinstance(config.decoder_channels, int):
        arguments |= {key: factor * config.decoder_channels for key, factor in facts.widths}
    if facts.attention:
        arguments["decoder_attention_type"] = config.decoder_attention_type
    if facts.strides:
        arguments["encoder_output_stride"] = config.encoder_output_stride or facts.strides[0]
    if config.architecture == "fpn":
        arguments["upsampling"] = 2 ** max(depth - 3, 0)
    elif config.architecture == "pspnet":
        arguments["upsampling"] = 2**depth
    elif config.architecture == "dpt":
        width = config.decoder_channels if isinstance(config.decoder_channels, int) else 256
        arguments["decoder_intermediate_channels"] = [factor * width for factor in DPT_FACTORS[:depth]]
        arguments["decoder_readout"] = "cat"
    return arguments
