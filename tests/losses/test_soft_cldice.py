import numpy as np
import pytest
import torch
from scipy import ndimage

from segcli.losses.soft_cldice import SoftClDice, soft_skeleton


def loss(logits, truth, valid=None, **options):
    valid = torch.ones(len(logits), 1, *logits.shape[2:], dtype=torch.bool) if valid is None else valid
    return SoftClDice(SoftClDice.Config(**options)).compute(logits, truth, valid)


def skeleton(mask, iterations):
    """Algorithm 1 of the paper with SciPy's grey morphology; a cross for erosion, a box for dilation."""
    cross = ndimage.generate_binary_structure(mask.ndim, 1)

    def eroded(values):
        return ndimage.grey_erosion(values, footprint=cross, mode="constant", cval=np.inf)

    def opened(values):
        return ndimage.grey_dilation(eroded(values), size=(3,) * mask.ndim, mode="constant", cval=-np.inf)

    lines = np.maximum(mask - opened(mask), 0)
    for _ in range(iterations):
        mask = eroded(mask)
        lines = lines + (1 - lines) * np.maximum(mask - opened(mask), 0)
    return lines


@pytest.mark.parametrize("size", [(14, 11), (7, 9, 8)])
def test_the_skeleton_agrees_with_scipy(size):
    mask = ndimage.gaussian_filter(np.random.default_rng(0).random(size), 1.0)
    mask = (mask - mask.min()) / np.ptp(mask)
    found = soft_skeleton(torch.from_numpy(mask)[None, None], 3)[0, 0]
    np.testing.assert_allclose(found, skeleton(mask, 3), rtol=0, atol=1e-12)


def test_the_skeleton_of_a_bar_is_its_middle():
    bar = torch.zeros(1, 1, 9, 15, dtype=torch.float64)
    bar[..., 2:7, 2:13] = 1
    middle = torch.zeros_like(bar)
    middle[..., 4, 4:11] = 1  # five pixels thick: two steps from each end
    assert torch.equal(soft_skeleton(bar, 2), middle)
    assert not soft_skeleton(bar, 1).any()  # too few steps to reach the middle


@pytest.mark.parametrize("size", [(12, 10), (6, 7, 8)])
def test_soft_cldice_agrees_with_numpy(size):
    rng = np.random.default_rng(1)
    logits, truth = rng.normal(size=(2, 1, *size)), rng.random((2, 1, *size)) < 0.4
    valid = rng.random((2, 1, *size)) < 0.9
    values = []
    for z, t, v in zip(logits[:, 0], truth[:, 0], valid[:, 0], strict=True):
        probs, mask = v / (1 + np.exp(-z)), (t & v).astype(float)
        lines, true_lines = skeleton(probs, 2), skeleton(mask, 2)
        precision = ((lines * mask).sum() + 0.5) / (lines.sum() + 0.5)
        sensitivity = ((true_lines * probs).sum() + 0.5) / (true_lines.sum() + 0.5)
        values.append(1 - 2 * precision * sensitivity / (precision + sensitivity))
    found = loss(*(torch.from_numpy(entry) for entry in (logits, truth, valid)), iterations=2, smooth=0.5)
    assert found.item() == pytest.approx(np.mean(values), abs=1e-12)


def test_a_gap_in_a_thin_line_costs_more_than_the_same_pixels_at_a_thick_one():
    truth = torch.zeros(1, 1, 20, 40)
    truth[..., 3, 2:38] = 1
    truth[..., 10:17, 2:38] = 1
    gap, dent = truth.clone(), truth.clone()
    gap[..., 3, 18:23] = 0
    dent[..., 10, 18:23] = 0
    costs = [loss((found * 2 - 1) * 20, truth).item() for found in (gap, dent)]
    assert costs[0] > 5 * costs[1]


def test_the_background_class_has_no_centre_lines():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 9, 9, generator=generator, dtype=torch.float64)
    truth = torch.rand(2, 1, 9, 9, generator=generator) < 0.4
    pair = torch.cat([torch.zeros_like(logits), logits], dim=1)  # its softmax is the sigmoid
    torch.testing.assert_close(loss(pair, truth[:, 0].long()), loss(logits, truth))
