"""Convolutions of single small volumes in float32 on a CPU."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segcli.engine.runtime import Precision

SLOW = {torch._C._ConvBackend.Slow3d, torch._C._ConvBackend.SlowDilated3d}


def kernel(layer, volume):
    """Name the kernel that PyTorch itself would take."""
    axes = (layer.stride, layer.padding, layer.dilation)
    return torch._C._select_conv_backend(volume, layer.weight, layer.bias, *axes, False, (0, 0, 0), layer.groups)


@pytest.fixture
def by_onednn(monkeypatch):
    """Shapes of the volumes that were given to oneDNN directly."""
    shapes, plain = [], torch.mkldnn_convolution

    def noted(volume, *rest):
        shapes.append(tuple(volume.shape))
        return plain(volume, *rest)

    monkeypatch.setattr(torch, "mkldnn_convolution", noted)
    return shapes


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"kernel_size": 3, "padding": 1}, (12, 12, 12)),
        ({"kernel_size": 3, "padding": 1, "bias": False}, (40, 64, 4)),  # 20480 is still small
        ({"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)}, (6, 12, 12)),
        ({"kernel_size": 3, "dilation": 2}, (9, 10, 11)),
        ({"kernel_size": (5, 5, 3)}, (9, 10, 11)),
    ],
)
def test_a_small_volume_alone_is_computed_by_onednn_as_among_others(options, size, layout, by_onednn):
    torch.manual_seed(0)
    layer = nn.Conv3d(8, 8, **options).to(memory_format=layout)
    volumes = torch.randn(2, 8, *size).to(memory_format=layout)
    assert kernel(layer, volumes[:1]) in SLOW
    with torch.inference_mode():
        among_others = layer(volumes)[:1]
        slowly = layer(volumes[:1])
        with Precision(None, "cpu").autocast():
            alone = layer(volumes[:1])
    assert by_onednn == [(1, 8, *size)]
    assert torch.allclose(alone, among_others, atol=1e-6)
    assert torch.allclose(alone, slowly, atol=1e-5)
    assert alone.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv3d(8, 8, 3), (2, 8, 8, 8, 8)),
        (nn.Conv3d(8, 8, 3), (1, 8, 41, 64, 4)),
        (nn.Conv3d(8, 8, 5), (1, 8, 8, 8, 8)),
        (nn.Conv3d(8, 8, 3, groups=2), (1, 8, 8, 8, 8)),
        (nn.Conv3d(8, 8, 1), (1, 8, 8, 8, 8)),  # a product of matrices, which is fast
        (nn.Conv3d(8, 8, (3, 1, 1)), (1, 8, 8, 8, 8)),
        (nn.Conv3d(8, 8, 3, padding="same"), (1, 8, 8, 8, 8)),
        (nn.Conv3d(8, 8, 3), (8, 8, 8, 8)),
        (nn.Conv3d(8, 8, 3).double(), (1, 8, 8, 8, 8)),
    ],
)
def test_other_convolutions_stay_as_they_are(layer, shape, by_onednn):
    volume = torch.randn(shape, dtype=layer.weight.dtype)
    with torch.inference_mode():
        plain = layer(volume)
        with Precision(None, "cpu").autocast():
            assert torch.equal(layer(volume), plain)
    assert by_onednn == []


def test_a_convolution_may_name_its_arguments(by_onednn):
    volume, weight = torch.randn(1, 4, 8, 8, 8), torch.randn(4, 4, 3, 3, 3)
    with torch.no_grad(), Precision(None, "cpu").autocast():
        found = F.conv3d(volume, weight=weight, padding=[1], stride=2)
    assert by_onednn == [(1, 4, 8, 8, 8)]
    assert torch.allclose(found, F.conv3d(volume, weight, padding=1, stride=2), atol=1e-5)


def test_training_keeps_its_bits(by_onednn):
    layer, volume = nn.Conv3d(8, 8, 3), torch.randn(1, 8, 12, 12, 12)
    with Precision(None, "cpu").autocast():
        found = layer(volume)
    assert torch.equal(found, layer(volume))
    found.sum().backward()
    assert layer.weight.grad is not None
    assert by_onednn == []


def test_pictures_are_computed_without_a_look_at_each_call():
    with Precision(None, "cpu", volumes=False).autocast() as mode:
        assert mode is None


def test_a_compiled_network_stays_in_one_piece(by_onednn):
    layer, volume = nn.Conv3d(8, 8, 3), torch.randn(1, 8, 12, 12, 12)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.no_grad(), Precision(None, "cpu").autocast():
        found = compiled(volume)
    assert torch.equal(found, layer(volume))
    assert by_onednn == []
