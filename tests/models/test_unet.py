import pytest
import torch

from segcli.core.errors import ConfigError
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


def test_a_stem_keeps_the_full_resolution_of_the_mask_and_every_pixel_its_own_say():
    torch.manual_seed(0)
    model, image = build(depths=[4, 8], stem_stride=2).eval(), torch.randn(1, 3, 16, 16)
    assert model.stride == 4
    mask = model(image)["mask"]
    assert mask.shape == (1, 1, 16, 16)
    assert mask[0, 0, 4:6, 4:6].unique().numel() == 4
    for row, column in ((4, 4), (4, 5), (5, 4), (5, 5)):
        other = image.clone()
        other[0, :, row, column] += 1.0
        assert not torch.equal(model(other)["mask"], mask)


def test_a_stem_works_on_volumes_too():
    outputs = build(3, 1, depths=[2, 4], stem_stride=2)(torch.randn(1, 1, 8, 12, 16))
    assert outputs["mask"].shape == (1, 1, 8, 12, 16)


def test_strides_of_an_axis_keep_coarse_slices_and_the_names_of_all_parameters():
    plain, coarse = build(3, 1, depths=[2, 4, 8]), build(3, 1, depths=[2, 4, 8], strides=[[1, 2, 2], 2])
    sizes = []
    coarse.down[2].register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[2:])))
    assert coarse(torch.randn(1, 1, 4, 16, 24))["mask"].shape == (1, 1, 4, 16, 24)
    assert sizes == [(2, 4, 6)]
    assert coarse.stride == 4
    assert plain.state_dict().keys() == coarse.state_dict().keys()
    assert plain.up[0].up.weight.shape == (4, 2, 2, 2, 2)
    assert coarse.up[0].up.weight.shape == (4, 2, 1, 2, 2)


@pytest.mark.parametrize(
    ("strides", "said"),
    [([2], "`model.strides` has 1 entries, and `model.depths` has 2 levels"), ([[2, 2], 2], "for images of 3 axes")],
)
def test_strides_that_do_not_fit_the_network_are_refused(strides, said):
    with pytest.raises(ConfigError, match=said):
        build(3, 1, depths=[2, 4, 8], strides=strides)
