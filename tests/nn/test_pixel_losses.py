"""Cross-entropy in parts: the bits of PyTorch's, forward and backward."""

import pytest
import torch
from torch.nn import functional as F

from segcli.nn import pixel_losses
from segcli.nn.pixel_losses import negative_log_probs


@pytest.mark.parametrize("shape", [(2, 2, 37, 41), (2, 12, 100, 61), (1, 3, 5, 31, 29), (3, 700, 9), (2, 3, 1, 7)])
def test_cross_entropy_in_parts_has_the_bits_of_that_of_pytorch(monkeypatch, shape):
    monkeypatch.setattr(pixel_losses, "AT_ONCE", 2**12)  # many parts, the last of them shorter
    draw = torch.Generator().manual_seed(shape[1])
    logits = 5 * torch.randn(shape, generator=draw)
    truth = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=draw)
    weight = torch.rand(truth.shape, generator=draw).round(decimals=1)  # some pixels do not count
    found = []
    for compute in (negative_log_probs, lambda *pair: F.cross_entropy(*pair, reduction="none")):
        leaf = logits.clone().requires_grad_()
        values = compute(leaf, truth)
        (values * weight).sum().backward()
        found.append((values.detach(), leaf.grad))
    assert all(torch.equal(one.view(torch.int32), other.view(torch.int32)) for one, other in zip(*found, strict=True))
