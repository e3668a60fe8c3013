import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segcli.core.torchvision_ops import declare_missing_operators
from segcli.losses.focal import Focal


def loss(logits, truth, valid=None, **options):
    valid = torch.ones(len(logits), 1, *logits.shape[2:], dtype=torch.bool) if valid is None else valid
    return Focal(Focal.Config(**options)).compute(logits, truth, valid)


def masks(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 2, 6, 5, generator=generator, dtype=torch.float64)
    return logits, torch.rand(logits.shape, generator=generator) < 0.4


def classes(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    return logits, torch.randint(3, (2, 4, 5), generator=generator)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.7, 0.5), (None, 3.0)])
def test_focal_of_masks_agrees_with_torchvision(alpha, gamma):
    declare_missing_operators()
    from torchvision.ops import sigmoid_focal_loss

    logits, truth = masks()
    expected = sigmoid_focal_loss(logits, truth.double(), -1 if alpha is None else alpha, gamma, reduction="mean")
    torch.testing.assert_close(loss(logits, truth, alpha=alpha, gamma=gamma), expected)


def test_focal_of_classes_agrees_with_a_plain_loop():
    logits, truth = classes()
    probs = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    values = []
    for image, row, column in np.ndindex(*truth.shape):
        right = probs[image, truth[image, row, column], row, column]
        weight = 0.25 if truth[image, row, column] > 0 else 0.75
        values.append(-weight * (1 - right) ** 2 * np.log(right))
    assert loss(logits, truth).item() == pytest.approx(np.mean(values), abs=1e-12)


def test_without_focus_and_weights_it_is_cross_entropy():
    logits, truth = masks()
    expected = F.binary_cross_entropy_with_logits(logits, truth.double())
    torch.testing.assert_close(loss(logits, truth, alpha=None, gamma=0.0), expected)
    logits, truth = classes()
    torch.testing.assert_close(loss(logits, truth, alpha=None, gamma=0.0), F.cross_entropy(logits, truth))


def test_every_image_counts_the_same_however_many_pixels_are_valid():
    logits, truth = classes()
    valid = torch.ones(2, 1, 4, 5, dtype=torch.bool)
    valid[0, :, 1:] = False
    first, second = loss(logits[:1, :, :1], truth[:1, :1]), loss(logits[1:], truth[1:])
    torch.testing.assert_close(loss(logits, truth, valid), (first + second) / 2)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_gradient_is_right_and_stays_finite_where_the_network_is_sure(gamma):
    logits, truth = classes()
    assert torch.autograd.gradcheck(lambda entry: loss(entry, truth, gamma=gamma), logits.requires_grad_())
    sure = torch.tensor([300.0, 0.0, -300.0]).view(1, 3, 1, 1).requires_grad_()
    for index in range(3):
        (gradient,) = torch.autograd.grad(loss(sure, torch.full((1, 1, 1), index), gamma=gamma), sure)
        assert gradient.isfinite().all()
