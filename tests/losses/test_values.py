import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn import functional as F

from segcli.losses import WeightedSum
from segcli.losses.bce import BCE
from segcli.losses.dice import Dice


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 1, 6, 5)), rng.random((2, 1, 6, 5)) < 0.4, np.ones((2, 1, 6, 5), bool)


def tensors(case):
    return [torch.from_numpy(entry) for entry in case]


def test_dice_by_hand():
    # probabilities 0.5 on four pixels, two of them true: 1 - (2 * 1 + 1) / (2 + 2 + 1)
    logits, truth = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1, 1], [0, 0]]]])
    assert Dice(Dice.Config(smooth=1.0)).compute(logits, truth, torch.ones(1, 1, 2, 2)).item() == pytest.approx(0.4)


@pytest.mark.parametrize("pooled", [False, True])
def test_dice_agrees_with_numpy(case, pooled):
    logits, truth, _ = case
    probs = 1 / (1 + np.exp(-logits))
    axes = (0, 2, 3) if pooled else (2, 3)
    expected = (1 - (2 * (probs * truth).sum(axes) + 0.1) / (probs.sum(axes) + truth.sum(axes) + 0.1)).mean()
    assert Dice(Dice.Config(smooth=0.1, pooled=pooled)).compute(*tensors(case)).item() == pytest.approx(
        expected, abs=1e-12
    )


def test_dice_of_an_empty_image_found_empty_costs_nothing():
    empty = torch.zeros(1, 1, 8, 8)
    assert Dice(Dice.Config()).compute(empty - 40, empty, empty + 1).item() == pytest.approx(0, abs=1e-6)


def test_dice_takes_class_indices_as_well():
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    truth = torch.randint(3, (2, 4, 4))
    probs = logits.softmax(1)
    hot = F.one_hot(truth, 3).movedim(-1, 1)
    overlap, total = (probs * hot).sum((2, 3)), probs.sum((2, 3)) + hot.sum((2, 3))
    expected = (1 - (2 * overlap + 1) / (total + 1)).mean()
    found = Dice(Dice.Config()).compute(logits, truth, torch.ones(2, 1, 4, 4))
    torch.testing.assert_close(found, expected)


def test_bce_agrees_with_scikit_learn(case):
    logits, truth, _ = case
    expected = log_loss(truth.ravel(), 1 / (1 + np.exp(-logits.ravel())))
    assert BCE(BCE.Config()).compute(*tensors(case)).item() == pytest.approx(expected, abs=1e-12)


def test_bce_weighs_the_foreground_as_pytorch_does(case):
    logits, truth, valid = tensors(case)
    expected = F.binary_cross_entropy_with_logits(logits, truth.double(), pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(BCE(BCE.Config(pos_weight=3.0)).compute(logits, truth, valid), expected)


def test_a_sum_weighs_its_parts_and_tells_each(case):
    logits, truth, valid = tensors(case)
    losses = [BCE(BCE.Config()), Dice(Dice.Config())]
    for loss, name in zip(losses, ("bce", "dice"), strict=True):
        loss.name = name
    values = WeightedSum([(0.25, losses[0]), (2.0, losses[1])])({"mask": logits}, {"mask": truth, "valid": valid})
    assert set(values) == {"loss", "loss_bce", "loss_dice"}
    assert values["loss"].item() == pytest.approx(0.25 * values["loss_bce"].item() + 2.0 * values["loss_dice"].item())
