import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from segcli.losses.boundary import Boundary


def loss(logits, truth, valid=None):
    valid = torch.ones(len(logits), 1, *logits.shape[2:], dtype=torch.bool) if valid is None else valid
    return Boundary(Boundary.Config()).compute(logits, truth, valid)


def signed(truth):
    """Distance to the boundary between pixels: negative inside, positive outside."""
    return np.where(truth, 0.5 - distance_transform_edt(truth), distance_transform_edt(~truth) - 0.5)


def ball(*size):
    grid = np.stack(np.meshgrid(*(np.arange(length) - length // 3 for length in size), indexing="ij"))
    return (grid**2).sum(0) < 9


@pytest.mark.parametrize("size", [(12, 15), (9, 10, 11)])
def test_boundary_is_the_papers_integral_of_equation_4(size):
    truth = ball(*size)
    logits = np.random.default_rng(0).normal(size=size)
    probs = 1 / (1 + np.exp(-logits))
    expected = (signed(truth) * probs).mean() - (signed(truth) * truth).mean()
    found = loss(torch.from_numpy(logits)[None, None], torch.from_numpy(truth)[None, None])
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_its_gradient_is_that_of_the_paper():
    truth = ball(12, 15)
    probs = torch.rand(1, 1, 12, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = probs.logit().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, torch.from_numpy(truth)[None, None]), logits)
    expected = torch.from_numpy(signed(truth)) * probs * (1 - probs) / truth.size
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=0)


def test_one_false_pixel_costs_its_distance():
    truth = torch.zeros(1, 1, 10, 10, dtype=torch.bool)
    truth[..., 2, 2] = True
    found = truth.clone()
    found[..., 6, 5] = True  # 5 pixels away, the boundary half a pixel nearer
    assert loss((found * 2.0 - 1.0) * 100, truth).item() == pytest.approx(4.5 / 100)


def test_the_edge_of_the_valid_pixels_is_no_boundary():
    truth = torch.zeros(1, 1, 1, 8, dtype=torch.bool)
    truth[..., :3] = True
    valid = torch.ones_like(truth)
    valid[..., 2] = False  # the last true pixel is unknown: the nearest known background is two pixels from the second
    cost = loss(torch.full(truth.shape, -100.0), truth, valid)
    assert cost.item() == pytest.approx((2.5 + 1.5) / 7)


@pytest.mark.parametrize("full", [False, True])
def test_a_mask_without_boundary_counts_nothing(full):
    logits = torch.randn(1, 1, 6, 6, requires_grad=True)
    result = loss(logits, torch.full((1, 1, 6, 6), full))
    assert result.item() == 0
    assert not torch.autograd.grad(result, logits)[0].any()


def test_the_background_class_has_no_boundary_of_its_own():
    logits = torch.randn(1, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    truth = torch.from_numpy(ball(9, 9))[None]
    pair = torch.cat([torch.zeros_like(logits), logits], dim=1)  # its softmax is the sigmoid
    torch.testing.assert_close(loss(pair, truth.long()), loss(logits, truth[:, None]))
