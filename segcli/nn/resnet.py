"""TorchVision's ResNet as a backbone: features of two stages, and pretrained weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.torchvision_ops import torchvision_models
from segcli.nn.state_dict import for_channels, read_tensors

__all__ = ["ResNet"]

HINT = "it must be the state dict of TorchVision's own network, such as `torch.save(resnet50().state_dict(), PATH)`"


class ResNet(nn.Module):
    """ResNet features of the first and last stage, `(B, C, H, W) -> (B, low, H/4, W/4), (B, deep, H/s, W/s)`.

    Paper: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385.

    Args:
        name: Name in TorchVision, such as `resnet50`.
        in_channels: Channels of an image.
        output_stride: Downsampling factor of the last features: 8, 16 or 32. Below 32 the last stages are dilated.
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
        """Return low-level and deep features."""
        body = self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(image))))
        low = body.layer1(x)
        return low, body.layer4(body.layer3(body.layer2(low)))

    def load_pretrained(self, weights: str | Path, *, sha256: str | None = None) -> None:
        """Load weights in TorchVision's format from a file, or for `imagenet` from the cache of PyTorch.

        Nothing is downloaded. For images that do not have three channels, the first convolution is adapted: its weights
        are repeated over the channels and scaled, so that a grey image gives the same output as three equal channels.

        Args:
            weights: The file, or `imagenet`.
            sha256: SHA-256 that the file must have; None for any.

        Raises:
            ConfigError: The file is not there.
            CheckpointError: It is not the state dict of this backbone.
        """
        path = _cached(self.name) if weights == "imagenet" else Path(weights)
        if not path.is_file():
            raise ConfigError(f"no file `{path}` with weights of `{self.name}`", hint="set `model.weights`")
        read = read_tensors(path, hint=HINT, sha256=sha256)
        tensors = {name: value for name, value in read.items() if not name.startswith("fc.")}
        expected = self.body.state_dict()
        if "conv1.weight" in tensors:
            tensors["conv1.weight"] = for_channels(tensors["conv1.weight"], like=expected["conv1.weight"])
        _refuse_others(tensors, expected, path, self.name)
        self.body.load_state_dict(tensors, strict=False)  # old files lack `num_batches_tracked`, which is never read


def _dilate(stage: nn.Module, *, before: int, after: int) -> None:
    """Replace the stride of a stage by dilation, so that size stays and the receptive field is kept.

    TorchVision offers this for bottleneck ResNets only; for these the result is the same.
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


def _refuse_others(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, name: str) -> None:
    missing = [key for key in expected if key not in tensors and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in tensors if key not in expected]
    shapes = [
        f"{key} {tuple(value.shape)} instead of {tuple(expected[key].shape)}"
        for key, value in tensors.items()
        if key in expected and value.shape != expected[key].shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    found = [f"{len(keys)} {word}: {', '.join(keys[:3])}" for word, keys in faults.items() if keys]
    if found:
        raise CheckpointError(f"`{path}` does not fit the backbone `{name}` ({'; '.join(found)})", hint=HINT)
