"""Gradients of thin volumes in bf16 on a CPU."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segcli.engine.runtime import Precision


def gradient(layer, volume, context):
    """Compute the gradient of the weights, after memory with NaN was freed."""
    freed = [torch.full((length,), float("nan")) for length in (64, 1000, 10_000, 100_000, 1_000_000)]
    del freed
    layer.zero_grad()
    with context:
        found = layer(volume)
    found.float().square().sum().backward()
    return found.dtype, layer.weight.grad.clone()


@pytest.mark.parametrize(("size", "kernel"), [((2, 2, 1), 3), ((2, 8, 8), 3), ((4, 8, 8), 5)])
def test_a_convolution_of_few_slices_is_computed_in_float32(size, kernel):
    torch.manual_seed(0)
    layer, volume = nn.Conv3d(32, 32, kernel, padding=kernel // 2), torch.randn(2, 32, *size)
    _, exact = gradient(layer, volume, torch.enable_grad())
    for _ in range(3):
        dtype, found = gradient(layer, volume, Precision(torch.bfloat16, "cpu").autocast())
        assert dtype == torch.float32
        assert torch.allclose(found, exact, rtol=1e-4, atol=1e-3)


def test_a_convolution_may_name_its_arguments_and_take_a_volume_without_a_batch():
    volume, weight = torch.randn(1, 4, 2, 8, 8), torch.randn(4, 4, 3, 3, 3)
    exact = F.conv3d(volume, weight, padding=1)
    with Precision(torch.bfloat16, "cpu").autocast():
        assert torch.allclose(F.conv3d(volume, weight=weight, padding=1), exact, atol=1e-5)
        assert torch.allclose(F.conv3d(input=volume, weight=weight, bias=None, padding="same"), exact, atol=1e-5)
        assert torch.allclose(F.conv3d(volume[0], weight, padding=1)[None], exact, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 8, 8), (8, 2, 2)])
def test_other_convolutions_are_computed_in_bf16(size):
    layer, volume = nn.Conv3d(32, 32, 3, padding=1), torch.randn(1, 32, *size)
    with Precision(torch.bfloat16, "cpu").autocast():
        assert layer(volume).dtype == torch.bfloat16


def test_pictures_are_computed_without_the_detour():
    precision = Precision(torch.bfloat16, "cpu", volumes=False)
    assert isinstance(precision.autocast(), torch.autocast)
