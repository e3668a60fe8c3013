import pytest
import torch
import yaml
from safetensors.torch import save_file

from segcli.core.errors import CheckpointError, ConfigError
from segcli.core.torchvision_ops import torchvision_models
from segcli.core.types import IOSpec
from segcli.engine.checkpoint import read_checkpoint
from segcli.models.deeplabv3_plus import DeepLabV3Plus
from segcli.nn.resnet import ResNet

resnets = torchvision_models()


def build(in_channels=3, classes=1, **config):
    return DeepLabV3Plus(DeepLabV3Plus.Config(**config), io=IOSpec(2, in_channels, {"mask": classes}))


@pytest.fixture
def stored(tmp_path):
    """A state dict of TorchVision's ResNet-18 with random weights, as a file."""
    torch.manual_seed(7)
    tensors = resnets.resnet18().state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save(tensors, path)
    return path, tensors


def test_the_parameters_are_those_counted_by_hand():
    backbone = sum(p.numel() for name, p in resnets.resnet50().named_parameters() if not name.startswith("fc."))

    def conv(come, go, width):  # no bias, and a batch norm
        return come * go * width**2 + 2 * go

    pyramid = conv(2048, 256, 1) + 3 * conv(2048, 256, 3) + (2048 * 256 + 256) + conv(5 * 256, 256, 1)
    decoder = conv(256, 48, 1) + conv(256 + 48, 256, 3) + conv(256, 256, 3) + (256 * 21 + 21)
    assert sum(p.numel() for p in build(classes=21).parameters()) == backbone + pyramid + decoder


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
@pytest.mark.parametrize("stride", [8, 16])
def test_dilated_features_equal_those_of_torchvision(name, stride):
    torch.manual_seed(0)
    dilated = [False, stride == 8, True]
    theirs = resnets.get_model(name, replace_stride_with_dilation=dilated).eval()
    ours = ResNet(name, in_channels=3, output_stride=stride).eval()
    ours.body.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")})
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        low = theirs.layer1(x)
        deep = theirs.layer4(theirs.layer3(theirs.layer2(low)))
        found = ours(image)
    assert deep.shape[2:] == (64 // stride, 96 // stride)
    torch.testing.assert_close(found[0], low)
    torch.testing.assert_close(found[1], deep)


@pytest.mark.parametrize("stride", [8, 16])
def test_shallow_backbones_keep_the_stride_too(stride):
    low, deep = ResNet("resnet18", in_channels=3, output_stride=stride)(torch.randn(2, 3, 64, 32))
    assert low.shape == (2, 64, 16, 8)
    assert deep.shape == (2, 512, 64 // stride, 32 // stride)


def test_a_single_image_of_the_smallest_size_trains():
    model = build(backbone="resnet18", channels=8)
    model(torch.randn(1, 3, 32, 32))["mask"].square().mean().backward()
    assert model.pooling[1].weight.grad.any()


def test_the_activation_is_that_of_head_and_decoder():
    kinds = {type(m).__name__ for m in build(backbone="resnet18", activation="silu").decoder.modules()}
    assert "SiLU" in kinds
    assert "ReLU" not in kinds


# ---- pretrained weights


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_a_state_dict_of_torchvision_is_loaded_exactly(stored, tmp_path, form):
    path, tensors = stored
    if form == "safetensors":
        path = tmp_path / "resnet18.safetensors"
        save_file(tensors, path)
    model = build(backbone="resnet18", weights=str(path))
    model.load_pretrained()
    body = model.backbone.body.state_dict()
    assert len(body) == len(tensors) - 2
    assert all(torch.equal(value, tensors[name]) for name, value in body.items())


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_take_the_first_convolution_over(stored, channels):
    path, tensors = stored
    model = build(in_channels=channels, backbone="resnet18", weights=str(path))
    model.load_pretrained()
    grey = torch.randn(1, 1, 32, 32)
    found = model.backbone.body.conv1(grey.expand(-1, channels, -1, -1))
    colour = torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), tensors["conv1.weight"], stride=2, padding=3)
    if channels == 1:
        torch.testing.assert_close(found, colour)
    assert float(found.detach().std() / colour.std()) == pytest.approx(1.0, abs=0.35)


def refused(path, **config):
    with pytest.raises(CheckpointError) as caught:
        build(backbone="resnet18", weights=str(path), **config).load_pretrained()
    return str(caught.value)


def test_weights_of_another_network_are_refused_with_the_keys_that_do_not_fit(stored, tmp_path):
    path, tensors = stored
    torch.save({f"module.{name}": value for name, value in tensors.items()}, path)
    text = refused(path)
    assert "does not fit the backbone `resnet18`" in text
    assert "missing: conv1.weight" in text
    assert "unexpected: module.conv1.weight" in text
    torch.save({**tensors, "layer1.0.conv1.weight": torch.zeros(8, 8, 3, 3)}, path)
    assert "layer1.0.conv1.weight (8, 8, 3, 3) instead of (64, 64, 3, 3)" in refused(path)


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (print, ("code ran",))


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"conv1.weight": Evil()}, path)
    assert "holds no weights" in refused(path)
    assert "code ran" not in capsys.readouterr().out
    torch.save([torch.zeros(1)], path)
    assert "holds no state dict of tensors" in refused(path)


def test_imagenet_weights_are_taken_from_the_cache_and_never_fetched(stored, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    model = build(backbone="resnet18", weights="imagenet")
    with pytest.raises(ConfigError, match=r"segcli downloads nothing\n  hint: fetch https://download.pytorch.org"):
        model.load_pretrained()
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    stored[0].rename(folder / resnets.ResNet18_Weights.DEFAULT.url.rpartition("/")[2])
    model.load_pretrained()
    assert torch.equal(model.backbone.body.conv1.weight, stored[1]["conv1.weight"])


def test_only_the_beginning_of_a_training_needs_the_file(run_cli, tiny, stored, workplace):
    path, _ = stored
    model = {"type": "DeepLabV3+", "backbone": "resnet18", "channels": 8, "weights": str(path)}
    config = tiny(model=model, training__epochs=2, checkpoint__save_every=1)
    assert run_cli("train", config).code == 0
    path.unlink()
    folder = workplace / "outputs/experiments/tiny"
    whole = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    assert run_cli("resume", folder / "checkpoints/epoch_0001.safetensors").code == 0
    again = read_checkpoint(folder / "checkpoints/last.safetensors").tensors
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    assert run_cli("eval").code == 0
    assert run_cli("predict", "data/test/image").code == 0
    result = run_cli("train", config, "--overwrite")
    assert result.code == 2
    assert f"no file `{path}` with weights of `resnet18`" in result.err
    assert yaml.safe_load((folder / "metrics_history.yaml").read_text())  # nothing was lost
