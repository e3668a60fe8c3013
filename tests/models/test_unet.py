import torch

from segcli.core.types import IOSpec
from segcli.models.unet import UNet


def build(ndim=2, channels=3, **config):
    return UNet(UNet.Config(**config), io=IOSpec(ndim, channels, {"mask": 1}))


def test_the_default_has_the_parameters_of_the_contract():
    assert sum(parameter.numel() for parameter in build().parameters()) == 7_763_041


def test_the_same_file_works_on_volumes():
    outputs = build(3, 1, depths=[2, 4, 8])(torch.randn(1, 1, 8, 12, 16))
    assert outputs["mask"].shape == (1, 1, 8, 12, 16)


def test_the_stride_follows_from_the_depths():
    assert build(depths=[2, 4, 8, 16]).stride == 8


def test_dropout_changes_training_and_not_evaluation():
    model, image = build(depths=[4, 8], dropout=0.5), torch.randn(1, 3, 16, 16)
    assert not torch.equal(model(image)["mask"], model(image)["mask"])
    model.eval()
    assert torch.equal(model(image)["mask"], model(image)["mask"])


def test_logits_are_raw_and_not_squashed():
    torch.manual_seed(0)
    model = build(depths=[4, 8])
    model.head.bias.data.fill_(50.0)
    assert model(torch.randn(1, 3, 16, 16))["mask"].min() > 1.0
