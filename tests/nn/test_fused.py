"""Convolutions that are fused with batch norm and ReLU for predictions on a CPU."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from segcli.nn import fused
from segcli.nn.dims import BATCH_NORM, CONV
from segcli.nn.fused import fuse

pytestmark = pytest.mark.skipif(not fused._works_here(), reason="oneDNN is not used on this processor")


def trained(network):
    """Give batch norms the statistics and weights that a training leaves."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(layer.running_mean)
            for each in (layer.running_var, layer.weight):
                nn.init.uniform_(each, 0.5, 2.0)
            nn.init.normal_(layer.bias)
    return network.eval()


def block(ndim=2, last=nn.ReLU, **options):
    return trained(nn.Sequential(CONV[ndim](4, 6, 3, **options), BATCH_NORM[ndim](6), last()))


@pytest.fixture
def calls(monkeypatch):
    """Shapes of the images that oneDNN convolved together with what follows."""
    shapes, plain = [], torch.ops.mkldnn._convolution_pointwise

    def noted(image, *rest):
        shapes.append(tuple(image.shape))
        return plain(image, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", noted)
    return shapes


@pytest.mark.parametrize("last", [nn.ReLU, nn.ELU])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    "options",
    [{"padding": 1, "bias": False}, {"stride": 2, "dilation": 2}, {"groups": 2}],
    ids=["usual", "strided", "grouped"],
)
def test_fused_layers_compute_what_the_layers_do(ndim, options, last, calls):
    plain = block(ndim, last, **options)
    fast = deepcopy(plain)
    assert fuse(fast) == 1
    with torch.inference_mode():
        for side in (12, 9, 12):  # the weights are brought into an order for each size
            image = torch.randn(1, 4, *(side,) * ndim)
            found = fast(image)
            torch.testing.assert_close(found, plain(image), atol=1e-5, rtol=1e-5)
            assert torch.equal(fast(image), found)
    assert len(calls) == 6


def test_an_image_alone_has_the_same_result_after_others_of_other_sizes(monkeypatch):
    fast, ordered, plain = block(), [], torch.ops.mkldnn._reorder_convolution_weight
    monkeypatch.setattr(
        torch.ops.mkldnn, "_reorder_convolution_weight", lambda *given: ordered.append(given[-1][-1]) or plain(*given)
    )
    fuse(fast)
    with torch.inference_mode():
        image = torch.randn(1, 4, 32, 32)
        found = fast(image)
        fast(torch.randn(1, 4, 20, 20)), fast(torch.randn(1, 4, 32, 32))
        assert torch.equal(fast(image), found)
    assert ordered == [32, 20, 32]  # anew where the size changes, and not at each call


def test_layers_called_one_by_one_stay_as_they_are(calls):
    plain = block()
    fast = deepcopy(plain)
    fuse(fast)
    image = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        for one, other in zip(fast, plain, strict=True):
            assert torch.equal(one(image.clone()), other(image.clone()))
            image = other(image)
    assert calls == []
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_gradients_other_numbers_and_autocast_take_the_layers(calls):
    plain = block()
    fast = deepcopy(plain)
    fuse(fast)
    image = torch.randn(1, 4, 8, 8)
    assert torch.equal(fast(image), plain(image))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fast(image), plain(image))
    assert calls == []


def hooked():
    network = block()
    network[1].register_forward_hook(lambda *_: None)
    return network


@pytest.mark.parametrize(
    "network",
    [
        block().train(),
        block(padding=1, padding_mode="reflect"),
        block(padding="same"),
        block().double(),
        nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)).eval(),
        nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)).eval(),
        hooked(),
    ],
    ids=["training", "reflect", "same", "double", "no statistics", "ReLU between", "hook"],
)
def test_other_layers_are_not_fused(network):
    assert fuse(network) == 0
