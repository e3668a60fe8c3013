import numpy as np
import pytest
import torch

from segcli.losses.lovasz import Lovasz


def loss(logits, truth, valid=None, **options):
    valid = torch.ones(len(logits), 1, *logits.shape[2:], dtype=torch.bool) if valid is None else valid
    return Lovasz(Lovasz.Config(**options)).compute(logits, truth, valid)


def extension(errors, truth):
    """Lovász extension by its definition: errors in descending order, each times what its pixel adds to `1 - IoU`."""
    wrong, total, before = set(), 0.0, 0.0
    foreground = set(np.flatnonzero(truth))
    for pixel in np.argsort(-errors, kind="stable"):
        wrong.add(pixel)
        found = foreground ^ wrong
        after = 1 - len(found & foreground) / len(found | foreground) if found | foreground else 0.0
        total += errors[pixel] * (after - before)
        before = after
    return total


@pytest.fixture
def masks():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 2, 5, 4)), rng.random((3, 2, 5, 4)) < 0.4, rng.random((3, 1, 5, 4)) < 0.8


def test_the_hinge_agrees_with_the_definition_on_the_valid_pixels_of_each_image(masks):
    logits, truth, valid = masks
    truth[2] = False  # an image without foreground
    expected = []
    for image, channel in np.ndindex(3, 2):
        z, t = logits[image, channel][valid[image, 0]], truth[image, channel][valid[image, 0]]
        expected.append(extension(np.maximum(1 - np.where(t, z, -z), 0), t))
    found = loss(*(torch.from_numpy(entry) for entry in masks))
    assert found.item() == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("which", ["present", "all"])
def test_the_softmax_agrees_with_the_definition(which):
    rng = np.random.default_rng(0)
    logits, truth, valid = rng.normal(size=(2, 3, 5, 4)), rng.integers(0, 3, (2, 5, 4)), rng.random((2, 1, 5, 4)) < 0.8
    truth[1][truth[1] == 2] = 0  # the second image has no class 2
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = []
    for image in range(2):
        inside = valid[image, 0]
        hot = [truth[image][inside] == label for label in range(3)]
        costs = [extension(np.abs(t - probs[image, label][inside]), t) for label, t in enumerate(hot)]
        expected.append(np.mean([cost for cost, t in zip(costs, hot, strict=True) if which == "all" or t.any()]))
    found = loss(*(torch.from_numpy(entry) for entry in (logits, truth, valid)), classes=which)
    assert found.item() == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("valid_share", [1.0, 0.7])
def test_of_hard_answers_the_softmax_form_is_one_minus_iou(valid_share):
    generator = torch.Generator().manual_seed(0)
    found, truth = (torch.rand(1, 30, 30, generator=generator) < 0.4 for _ in range(2))
    valid = torch.rand(1, 1, 30, 30, generator=generator) < valid_share
    logits = torch.stack([~found, found], dim=1).double() * 1000
    inside = valid[:, 0]
    ious = [(found & truth & inside).sum() / ((found | truth) & inside).sum()]
    ious.append((~found & ~truth & inside).sum() / ((~found | ~truth) & inside).sum())
    assert loss(logits, truth.long(), valid).item() == pytest.approx(1 - np.mean(ious), abs=1e-6)


def test_a_pixel_has_a_gradient_exactly_where_it_is_not_right_by_the_margin():
    generator = torch.Generator().manual_seed(0)
    logits = (2 * torch.randn(1, 1, 20, 20, generator=generator, dtype=torch.float64)).requires_grad_()
    truth = torch.rand(1, 1, 20, 20, generator=generator) < 0.4
    truth.flatten()[logits.where(truth, -logits).flatten().argmax()] = True
    (gradient,) = torch.autograd.grad(loss(logits, truth), logits)
    margin = logits.where(truth, -logits)
    assert torch.equal(gradient != 0, margin < 1)
    assert torch.autograd.gradcheck(lambda entry: loss(entry, truth), logits)


def test_growth_keeps_its_digits_in_an_image_of_a_million_pixels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 1, 1000, 1000, generator=generator, requires_grad=True)
    truth = torch.rand(logits.shape, generator=generator) < 0.1
    (gradient,) = torch.autograd.grad(loss(logits, truth), logits)
    exact = logits.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(loss(exact, truth), exact)
    torch.testing.assert_close(gradient, expected.float(), rtol=1e-4, atol=0)
