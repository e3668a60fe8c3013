"""TorchVision's ResNet as a backbone: features at two depths, and its pretrained weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.torchvision_ops import torchvision_models
from segcli.nn.state_dict import read_tensors

__all__ = ["ResNet"]

HINT = "it must be the state dict of TorchVision's own network, such as `torch.save(resnet50().state_dict(), PATH)`"


class ResNet(nn.Module):
    """Features of the first and of the last stage, `(B, C, H, W) -> (B, low, H/4, W/4), (B, deep, H/s, W/s)`.

    Paper: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385.

    Args:
        name: As TorchVision has it, such as `resnet50`.
        in_channels: Channels of an image.
        output_stride: 8, 16 or 32: how much smaller the last features are; less than 32 dilates the last stages.
    """

    def __init__(self, name: str, *, in_channels: int, output_stride: int) -> None:
        super().__init__()
        self.name = name
        self.body = torchvision_models().get_model(name, weights=None)
        del self.body.fc, self.body.avgpool
        if in_channels != 3:
            self.body.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.body.conv1.weight, mode="fan_out", nonlinearity="relu")
        dilation = 1
        for stage, stride in ((self.body.layer3, 16), (self.body.layer4, 32)):
            if stride > output_stride:
                _dilate(stage, before=dilation, after=2 * dilation)
                dilation *= 2
        self.low_channels = _width(self.body.layer1)
        self.deep_channels = _width(self.body.layer4)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Low-level and deep features."""
        body = self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(image))))
        low = body.layer1(x)
        return low, body.layer4(body.layer3(body.layer2(low)))

    def load_pretrained(self, weights: str) -> None:
        """Take up weights in TorchVision's own format: of a file, or `imagenet` from the cache of PyTorch.

        Nothing is downloaded. For images without three channels the first convolution is adapted: its weights are
        repeated over the channels and scaled so that a grey image counts as much as its three equal channels would.

        Raises:
            ConfigError: The file is not there.
            CheckpointError: It is not the state dict of this backbone.
        """
        path = _cached(self.name) if weights == "imagenet" else Path(weights)
        if not path.is_file():
            raise ConfigError(f"no file `{path}` with weights of `{self.name}`", hint="set `model.weights`")
        tensors = {name: value for name, value in read_tensors(path, hint=HINT).items() if not name.startswith("fc.")}
        wanted = self.body.state_dict()
        first = tensors.get("conv1.weight")
        if first is not None and first.shape[1] == 3 != wanted["conv1.weight"].shape[1]:
            tensors["conv1.weight"] = _for_channels(first, wanted["conv1.weight"].shape[1])
        _refuse_others(tensors, wanted, path, self.name)
        self.body.load_state_dict(tensors, strict=False)  # old files lack `num_batches_tracked`, which nothing reads


def _dilate(stage: nn.Module, *, before: int, after: int) -> None:
    """Keep the size of a stage: its first block strides no more, the others look as far as they would have.

    TorchVision offers this for deep networks only; for these it comes to the same.
    """
    for position, block in enumerate(stage.children()):
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
                if module.kernel_size == (3, 3):
                    rate = before if position == 0 else after
                    module.dilation = module.padding = (rate, rate)


def _width(stage: nn.Module) -> int:
    return [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)][-1].num_features


def _cached(name: str) -> Path:
    url: str = torchvision_models().get_model_weights(name).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        raise ConfigError(
            f"no ImageNet weights of `{name}` at `{path}`, and segcli downloads nothing",
            hint=f"fetch {url} and put it there, or set `model.weights` to the path of the file",
        )
    return path


def _refuse_others(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path, name: str) -> None:
    missing = [key for key in wanted if key not in tensors and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in tensors if key not in wanted]
    shapes = [
        f"{key} {tuple(value.shape)} instead of {tuple(wanted[key].shape)}"
        for key, value in tensors.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    told = [f"{len(keys)} {word}: {', '.join(keys[:3])}" for word, keys in faults.items() if keys]
    if told:
        raise CheckpointError(f"`{path}` does not fit the backbone `{name}` ({'; '.join(told)})", hint=HINT)


def _for_channels(weight: Tensor, channels: int) -> Tensor:
    """Weights `(K, 3, h, w)` for another number of channels."""
    repeated = weight.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
    return weight.sum(dim=1, keepdim=True) if channels == 1 else repeated * (3.0 / channels)
