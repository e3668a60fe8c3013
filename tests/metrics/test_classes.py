"""Metrics of many classes against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, jaccard_score

from segcli.core.registry import METRICS
from segcli.core.torchvision_ops import declare_missing_operators
from segcli.engine.inference.scores import Tally, by_class, headline, score
from segcli.metrics import ScoredClasses

CLASSES, ABSENT = 5, 3
"""Class 3 is in no truth, and yet it is found in places."""


def metric(name, headline="pooled"):
    made = METRICS.load(name)(METRICS.load(name).Config())
    made.name, made.headline = name, headline
    return made


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(5)
    probs = torch.randn(4, CLASSES, 9, 8, generator=generator).softmax(1)
    truth = torch.tensor([0, 0, 0, 1, 1, 2, 4])[torch.randint(0, 7, (4, 9, 8), generator=generator)]
    valid = torch.rand(4, 1, 9, 8, generator=generator) < 0.8
    return probs, truth, valid


def flat(case):
    probs, truth, valid = case
    return truth[valid[:, 0]].numpy(), probs.argmax(1)[valid[:, 0]].numpy()


def statistics(made, case):
    tally = Tally([made])
    probs, truth, valid = case
    for image in range(len(probs)):
        tally.add(ScoredClasses(*(entry[image : image + 1] for entry in (probs, truth, valid))))
    return tally.statistics(made)


def test_the_confusion_matrix_is_that_of_scikit_learn(case):
    matrix = ScoredClasses(*case).matrix
    assert matrix.shape == (4, CLASSES, CLASSES)
    assert np.array_equal(matrix.sum(0).numpy(), confusion_matrix(*flat(case), labels=range(CLASSES)))


def test_counts_are_each_class_against_all_others(case):
    truth, found = flat(case)
    counts = ScoredClasses(*case).confusion.sum(0).numpy()
    for index in range(CLASSES):
        expected = confusion_matrix(truth == index, found == index, labels=[True, False])
        assert counts[index].tolist() == [expected[0, 0], expected[1, 0], expected[0, 1], expected[1, 1]]


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("iou", lambda truth, found: jaccard_score(truth, found, labels=[0, 1, 2, 4], average="macro")),
        ("mean_iou", lambda truth, found: jaccard_score(truth, found, labels=[0, 1, 2, 4], average="macro")),
        ("frequency_weighted_iou", lambda truth, found: jaccard_score(truth, found, average="weighted")),
        ("pixel_accuracy", accuracy_score),
        ("class_accuracy", lambda truth, found: balanced_accuracy_score(truth, np.where(found == ABSENT, -1, found))),
        ("dice", lambda truth, found: f1_score(truth, found, labels=[0, 1, 2, 4], average="macro")),
    ],
)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_a_value_over_the_data_set_is_that_of_scikit_learn_without_the_absent_class(name, reference, case):
    made = metric(name)
    assert headline(made, statistics(made, case)) == pytest.approx(reference(*flat(case)), abs=1e-12)


def test_mean_iou_agrees_with_torchmetrics_where_every_class_occurs(case):
    declare_missing_operators()  # torchmetrics imports torchvision
    from torchmetrics.classification import MulticlassJaccardIndex

    probs, truth, _ = case
    truth = (truth + torch.arange(8)) % CLASSES
    everywhere = torch.ones(4, 1, 9, 8, dtype=torch.bool)
    reference = MulticlassJaccardIndex(CLASSES, average="none")
    expected = reference(probs.argmax(1), truth).double().numpy()
    made = metric("mean_iou")
    found = by_class(made, statistics(made, (probs, truth, everywhere)))
    assert found == pytest.approx(expected, abs=1e-6)


def test_an_absent_class_is_shown_as_not_defined_and_averaged_neither_as_0_nor_as_1(case):
    made = metric("iou")
    result = score(made, statistics(made, case), seed=0)
    values = [entry.value for entry in result.per_class]
    assert np.isnan(values[ABSENT])
    assert result.per_class[ABSENT].interval is None
    assert result.value == pytest.approx(np.mean([value for value in values if not np.isnan(value)]))
    assert flat(case)[1].tolist().count(ABSENT) > 0


def test_each_class_has_an_interval_around_its_value(case):
    made = metric("iou")
    result = score(made, statistics(made, case), seed=0)
    for index, entry in enumerate(result.per_class):
        if index != ABSENT:
            low, high = entry.interval
            assert low < entry.value < high


def test_one_mask_that_is_empty_and_found_is_judged():
    made = metric("iou", "mean")
    counts = np.array([[[0, 7, 0, 9]], [[5, 5, 0, 6]]])
    assert headline(made, counts) == pytest.approx((0.0 + 0.5) / 2)


def test_means_over_images_leave_out_the_classes_that_an_image_does_not_show():
    made = metric("dice", "mean")
    counts = np.array([[[4, 0, 0, 4], [0, 2, 0, 6]], [[2, 2, 2, 2], [1, 1, 1, 5]]])
    assert headline(made, counts) == pytest.approx((1.0 + (0.5 + 0.5) / 2) / 2)
    assert by_class(made, counts) == pytest.approx([0.75, 0.5])
