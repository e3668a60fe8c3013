"""Numbers against scikit-learn, inside a field of view."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    jaccard_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from segcli.core.registry import METRICS
from segcli.core.torchvision_ops import declare_missing_operators
from segcli.metrics import Scored

REFERENCE = {
    "dice": f1_score,
    "iou": jaccard_score,
    "precision": precision_score,
    "recall": recall_score,
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "mcc": matthews_corrcoef,
    "specificity": lambda truth, found: recall_score(~truth, ~found),
}


def metric(name):
    return METRICS.load(name)(METRICS.load(name).Config())


@pytest.fixture
def case():
    rng = np.random.default_rng(1)
    truth = rng.random((3, 1, 20, 17)) < 0.3
    probs = np.clip(truth * 0.3 + rng.random(truth.shape) * 0.7, 0, 1).astype(np.float32)
    return probs, truth, rng.random(truth.shape) < 0.7


def scored(case):
    return Scored(*(torch.from_numpy(entry) for entry in case), 0.5)


@pytest.mark.parametrize("name", REFERENCE)
def test_counts_agree_with_scikit_learn_per_image_and_over_all_pixels(case, name):
    probs, truth, valid = case
    made = metric(name)
    statistics = made.statistics(scored(case)).numpy()
    expected = [REFERENCE[name](t[v], p[v] >= 0.5) for p, t, v in zip(probs, truth, valid, strict=True)]
    np.testing.assert_allclose(made.values(statistics)[:, 0], expected, rtol=0, atol=1e-12)
    pooled = REFERENCE[name](truth[valid], probs[valid] >= 0.5)
    np.testing.assert_allclose(made.values(statistics.sum(axis=0)), pooled, rtol=0, atol=1e-12)


def test_dice_agrees_with_torchmetrics(case):
    declare_missing_operators()
    from torchmetrics.functional.classification import binary_f1_score

    probs, truth, valid = (torch.from_numpy(entry) for entry in case)
    expected = binary_f1_score(probs[valid], truth[valid].long(), threshold=0.5)
    made = metric("dice")
    found = made.values(made.statistics(scored(case)).numpy().sum(axis=0))
    np.testing.assert_allclose(found, expected.item(), atol=1e-6)


def untrained(truth, rng):
    return rng.normal(size=truth.shape) * 0.02 + 0.03 * truth


RANKINGS = pytest.mark.parametrize(
    "logits",
    [
        lambda truth, rng: rng.normal(size=truth.shape) + 6 * truth,
        lambda truth, rng: rng.normal(size=truth.shape) + 0.1 * truth,
        lambda truth, rng: rng.normal(size=truth.shape) * 30 + 40 * truth,  # saturated: probabilities of 0 and 1
        untrained,
        lambda truth, rng: np.full(truth.shape, -3.0),  # a constant
        lambda truth, rng: np.round(rng.normal(size=truth.shape) + truth, 1),  # many ties
    ],
)


@RANKINGS
@pytest.mark.parametrize(
    ("name", "exact", "atol"), [("auc", roc_auc_score, 2e-4), ("average_precision", average_precision_score, 1e-3)]
)
def test_histograms_agree_with_the_exact_ranking(logits, name, exact, atol):
    if name == "average_precision" and logits is untrained:
        atol = 1e-2  # a hundred bins hold all pixels
    rng = np.random.default_rng(2)
    truth = rng.random((2, 1, 90, 80)) < 0.2
    probs = torch.from_numpy(logits(truth, rng)).float().sigmoid()
    valid = rng.random(truth.shape) < 0.8
    made = metric(name)
    statistics = made.statistics(Scored(probs, torch.from_numpy(truth), torch.from_numpy(valid), 0.5)).numpy()
    expected = exact(truth[valid], probs.numpy()[valid])
    np.testing.assert_allclose(made.values(statistics.sum(axis=0)), expected, rtol=0, atol=atol)
    for index in range(2):
        single = exact(truth[index][valid[index]], probs.numpy()[index][valid[index]])
        np.testing.assert_allclose(made.values(statistics)[index, 0], single, rtol=0, atol=atol)


def test_metrics_of_one_kind_share_their_statistics():
    assert metric("auc").statistics_name == metric("average_precision").statistics_name
    assert len({metric(name).statistics_name for name in REFERENCE}) == 1


def test_mcc_of_a_large_data_set_does_not_overflow():
    counts = np.array([4e11, 1e11, 2e11, 3e12])
    shares = [float(entry) for entry in counts / 1e11]
    tp, fp, fn, tn = shares
    expected = (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    np.testing.assert_allclose(metric("mcc").values(counts.astype(np.int64)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "truth", "found", "expected"),
    [
        ("dice", 0, 0, np.nan),
        ("dice", 0, 1, 0.0),
        ("dice", 1, 0, 0.0),
        ("precision", 1, 0, np.nan),
        ("recall", 0, 1, np.nan),
        ("specificity", 1, 1, np.nan),
        ("auc", 0, 1, np.nan),
        ("average_precision", 0, 1, np.nan),
        ("average_precision", 1, 0, 1.0),
        ("balanced_accuracy", 0, 0, np.nan),
        ("balanced_accuracy", 1, 1, np.nan),
        ("mcc", 0, 1, np.nan),
        ("mcc", 1, 1, np.nan),
        ("accuracy", 0, 0, 1.0),
    ],
)
def test_zero_over_zero_is_not_a_score(name, truth, found, expected):
    shape = (1, 1, 4, 4)
    made = metric(name)
    case = Scored(
        torch.full(shape, float(found)), torch.full(shape, bool(truth)), torch.ones(shape, dtype=torch.bool), 0.5
    )
    np.testing.assert_equal(made.values(made.statistics(case).numpy())[0, 0], expected)
