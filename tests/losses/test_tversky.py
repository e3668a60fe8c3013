import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segcli.losses.dice import Dice
from segcli.losses.tversky import Tversky


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 2, 6, 5)), rng.random((2, 2, 6, 5)) < 0.4, rng.random((2, 1, 6, 5)) < 0.8


def loss(case, **options):
    return Tversky(Tversky.Config(**options)).compute(*(torch.as_tensor(entry) for entry in case))


def test_tversky_by_hand():
    # probabilities 0.5 on four pixels, one true: hit 0.5, false alarm 1.5, miss 0.5
    logits, truth = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1, 0], [0, 0]]]])
    found = loss((logits, truth, torch.ones(1, 1, 2, 2)), alpha=0.2, beta=0.8, smooth=1.0)
    assert found.item() == pytest.approx(1 - (0.5 + 1) / (0.5 + 0.2 * 1.5 + 0.8 * 0.5 + 1))


def test_tversky_agrees_with_numpy_per_image_and_channel(case):
    logits, truth, valid = case
    values = []
    for image, channel in np.ndindex(2, 2):
        inside = valid[image, 0]
        p, t = 1 / (1 + np.exp(-logits[image, channel][inside])), truth[image, channel][inside]
        wrong = 0.3 * p[~t].sum() + 0.7 * (1 - p[t]).sum()
        values.append(1 - (p[t].sum() + 0.1) / (p[t].sum() + wrong + 0.1))
    assert loss(case, smooth=0.1).item() == pytest.approx(np.mean(values), abs=1e-12)


def test_with_equal_weights_it_is_the_dice_loss(case):
    expected = Dice(Dice.Config(smooth=1.0)).compute(*(torch.as_tensor(entry) for entry in case))
    torch.testing.assert_close(loss(case, alpha=0.5, beta=0.5, smooth=0.5), expected)


def test_tversky_takes_class_indices_as_well():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    truth = torch.randint(3, (2, 4, 4), generator=generator)
    probs, hot = logits.softmax(1), F.one_hot(truth, 3).movedim(-1, 1)
    hit, alarm = (probs * hot).sum((2, 3)), (probs * (1 - hot)).sum((2, 3))
    expected = (1 - (hit + 1) / (hit + 0.3 * alarm + 0.7 * (hot.sum((2, 3)) - hit) + 1)).mean()
    torch.testing.assert_close(loss((logits, truth, torch.ones(2, 1, 4, 4))), expected)
