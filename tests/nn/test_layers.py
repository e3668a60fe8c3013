"""Normalisation and activation by name, in every network that lets users choose them."""

import numpy as np
import pytest
import torch
from factories import SMALL
from torch import nn
from torch.nn import functional as F

from segcli.core.registry import MODELS
from segcli.core.types import IOSpec
from segcli.nn.layers import LayerKeys, Layers

CHOSEN = [("instance", "leaky_relu"), ("group", "elu"), ("layer", "gelu"), ("none", "silu"), ("batch", "prelu")]
KINDS = {"leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU, "prelu": nn.PReLU}
NETWORKS = [name for name in MODELS.names() if issubclass(MODELS.load(name).Config, LayerKeys)]


def build(name, ndim=2, **keys):
    kind = MODELS.load(name)
    torch.manual_seed(0)
    io = IOSpec(ndim, 2, dict.fromkeys(kind.can_output, 1))
    return kind(kind.Config.model_validate({**SMALL[name], **keys}), io=io)


def test_every_u_net_is_here():
    assert NETWORKS == ["roinet", "sa_unet", "sadaan", "transroinet", "unet", "utrans"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("norm", "activation"), CHOSEN)
def test_a_network_has_only_the_norm_and_the_activation_that_were_chosen(name, norm, activation):
    ndim = 2 + (norm in ("instance", "batch"))
    model = build(name, ndim, norm=norm, activation=activation)
    kinds = {type(module) for module in model.modules()}
    assert KINDS[activation] in kinds
    assert nn.ReLU not in kinds
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm)]
    assert bool(norms) == (norm != "none")
    assert all(isinstance(module, nn.GroupNorm) == (norm != "batch") for module in norms)
    outputs = model(torch.randn(2, 2, *[2 * model.stride] * ndim))
    assert all(values.isfinite().all() for values in outputs.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_defaults_are_batch_norm_and_relu_with_the_names_that_checkpoints_hold(name):
    usual, stated = build(name), build(name, norm="batch", activation="relu")
    assert usual.state_dict().keys() == stated.state_dict().keys()
    kinds = {type(module) for module in usual.modules()}
    assert {nn.BatchNorm2d, nn.ReLU} <= kinds
    if name == "unet":
        assert list(usual.state_dict())[:7] == [
            "down.0.0.weight",
            *(f"down.0.1.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
            "down.0.3.weight",
        ]


@pytest.mark.parametrize("name", ["unet", "sa_unet", "roinet"])
@pytest.mark.parametrize("norm", ["instance", "group", "layer"])
def test_the_other_norms_do_not_depend_on_the_other_images_of_a_batch(name, norm):
    model = build(name, norm=norm, **({"keep_prob": 1.0} if name == "sa_unet" else {}))
    images = torch.randn(3, 2, 16, 16)
    together = model(images)["mask"]
    alone = torch.cat([model(image[None])["mask"] for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.eval()(images)["mask"], together, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("norm", "axes"), [("instance", lambda x: x), ("layer", lambda x: x.reshape(2, 1, -1)), ("group", lambda x: x)]
)
def test_a_norm_is_that_of_numpy(norm, axes):
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    layer = Layers("relu", norm).norm(2, 6).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    groups = {"instance": 6, "layer": 1, "group": 3}[norm]
    parts = x.numpy().reshape(2, groups, -1)
    unit = (parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + 1e-5)
    expected = unit.reshape(x.shape) * layer.weight.detach().numpy()[:, None, None]
    expected += layer.bias.detach().numpy()[:, None, None]
    for mode in (True, False):
        np.testing.assert_allclose(layer.train(mode)(x).detach().numpy(), expected, atol=1e-9)
    torch.testing.assert_close(Layers("relu", "instance").norm(2, 6).double()(x), F.instance_norm(x))


def test_a_map_of_one_value_is_refused_in_training_and_not_in_prediction():
    model, image = build("unet", norm="instance"), torch.randn(1, 2, 2, 2)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        model.train()(image)
    assert model.eval()(image)["mask"].isfinite().all()


@pytest.mark.parametrize(("channels", "groups"), [(512, 32), (64, 32), (32, 16), (6, 3), (7, 1), (1, 1)])
def test_a_group_has_two_channels_at_least_and_there_are_32_at_most(channels, groups):
    layer = Layers("relu", "group").norm(3, channels)
    assert (layer.num_groups, layer.num_channels) == (groups, channels)
