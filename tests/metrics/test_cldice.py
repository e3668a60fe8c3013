import numpy as np
import pytest
import torch

from segcli.core.registry import METRICS
from segcli.metrics import Scored
from segcli.metrics.cldice import ClDice


def statistics(found, truth, valid=None):
    found, truth = np.atleast_3d(found), np.atleast_3d(truth)
    valid = np.ones_like(truth) if valid is None else valid
    entries = (torch.from_numpy(entry)[:, None] for entry in (found.astype(np.float32), truth, valid))
    return ClDice(ClDice.Config()).statistics(Scored(*entries, 0.5)).numpy()


def value(found, truth, valid=None):
    return ClDice(ClDice.Config()).values(statistics(found[None], truth[None], valid))[0, 0]


@pytest.fixture
def tubes():
    """Two horizontal tubes, five and three pixels thick, whose lines are found by counting."""
    truth = np.zeros((30, 40), bool)
    truth[3:8, 5:35] = True  # thinned: row 5, columns 7 to 32, 26 pixels
    truth[20:23, 5:35] = True  # thinned: row 21, columns 6 to 33, 28 pixels
    return truth


def test_cldice_by_hand(tubes):
    found = tubes.copy()
    found[20:23] = False  # one tube missed: all found lines are true, 26 of 54 true line pixels are found
    assert value(found, tubes) == pytest.approx(2 * 1 * (26 / 54) / (1 + 26 / 54))


def test_thickness_does_not_matter_but_a_gap_does(tubes):
    thin = np.zeros_like(tubes)
    thin[5, 5:35] = thin[21, 5:35] = True
    assert value(thin, tubes) == 1.0
    gap = tubes.copy()
    gap[:, 15:25] = False
    assert value(gap, tubes) < 0.9


def test_over_several_images_lines_are_pooled(tubes):
    found = np.stack([tubes, np.zeros_like(tubes)])
    found[0, 20:23] = False
    rows = statistics(found, np.stack([tubes, tubes]))
    pooled = ClDice(ClDice.Config()).values(rows.sum(axis=0))
    assert pooled[0] == pytest.approx(2 * 1 * (26 / 108) / (1 + 26 / 108))


def test_agrees_with_the_definition_on_scikit_images_lines():
    thin = pytest.importorskip("skimage.morphology").thin
    rng = np.random.default_rng(0)
    truth, found = (rng.random((2, 40, 40)).cumsum(1) % 4 < 2 for _ in range(2))
    for f, t, got in zip(found, truth, ClDice(ClDice.Config()).values(statistics(found, truth))[:, 0], strict=True):
        precision, sensitivity = (thin(f) & t).sum() / thin(f).sum(), (thin(t) & f).sum() / thin(t).sum()
        assert got == pytest.approx(2 * precision * sensitivity / (precision + sensitivity), abs=1e-12)


@pytest.mark.parametrize(("found", "truth", "expected"), [(0, 0, np.nan), (1, 0, 0.0), (0, 1, 0.0)])
def test_of_empty_masks(tubes, found, truth, expected):
    np.testing.assert_equal(value(tubes & bool(found), tubes & bool(truth)), expected)


def test_masks_that_do_not_meet_score_nothing(tubes):
    assert value(np.roll(tubes, 9, axis=0), tubes) == 0.0


def test_it_says_that_it_scores_planes_only():
    assert METRICS.load("cldice").can_ndim == (2,)
