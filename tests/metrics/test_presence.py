"""Presence of structures, against a hand-worked case and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from segcli.engine.inference.scores import by_class, headline, score
from segcli.metrics import Scored
from segcli.metrics.dice import Dice
from segcli.metrics.false_positive_volume import FalsePositiveVolume
from segcli.metrics.presence_accuracy import PresenceAccuracy
from segcli.metrics.presence_ece import PresenceECE
from segcli.metrics.presence_sensitivity import PresenceSensitivity
from segcli.metrics.presence_specificity import PresenceSpecificity
from segcli.metrics.surface_dice import SurfaceDice


def made(kind):
    metric = kind(kind.Config())
    metric.name = kind.__name__
    return metric


def random_case(seed=0, cases=40, structures=3):
    generator = torch.Generator().manual_seed(seed)
    found, true = (torch.rand(cases, structures, generator=generator) < share for share in (0.6, 0.5))
    blob = torch.zeros(cases, structures, 4, 4, 4)
    blob[:, :, 1:3, 1:3, 1:3] = 1.0
    spread = (cases, structures, 1, 1, 1)
    return blob * found.view(spread), (blob * true.view(spread)) > 0, torch.ones(cases, 1, 4, 4, 4, dtype=torch.bool)


def test_presence_of_each_structure_is_that_of_scikit_learn():
    probs, truth, valid = random_case()
    scored = Scored(probs, truth, valid, 0.5)
    found, true = (values.flatten(2).amax(2).numpy() > 0 for values in (probs, truth.float()))
    for position in range(3):
        tn, fp, fn, tp = confusion_matrix(true[:, position], found[:, position]).ravel()
        expected = {
            PresenceAccuracy: (tp + tn) / 40,
            PresenceSensitivity: tp / (tp + fn),
            PresenceSpecificity: tn / (tn + fp),
        }
        for kind, value in expected.items():
            metric = made(kind)
            assert by_class(metric, metric.statistics(scored).numpy())[position] == pytest.approx(value)


def test_a_structure_is_found_if_the_network_judges_it_present_and_its_mask_has_a_voxel():
    probs, truth, valid = random_case()
    judged = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)) < 0.5
    by_mask = probs.flatten(2).amax(2) > 0
    assert torch.equal(Scored(probs, truth, valid, 0.5).found_presence, by_mask)
    assert torch.equal(Scored(probs, truth, valid, 0.5, presence=judged).found_presence, by_mask & judged)


def test_the_calibration_error_is_that_of_torchmetrics():
    calibration = pytest.importorskip("torchmetrics.classification").BinaryCalibrationError(n_bins=15, norm="l1")
    probs, truth, valid = random_case(cases=200)
    confidence = torch.rand(200, 3, generator=torch.Generator().manual_seed(2)) ** 0.3
    scored = Scored(probs, truth, valid, 0.5, certainty={"confidence": confidence})
    right = scored.found_presence == truth.flatten(2).any(2)
    metric = made(PresenceECE)
    found = by_class(metric, metric.statistics(scored).numpy())
    expected = [float(calibration(confidence[:, k], right[:, k].long())) for k in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    sure = by_class(metric, metric.statistics(Scored(probs, truth, valid, 0.5)).numpy())
    np.testing.assert_allclose(sure, 1.0 - right.double().mean(0).numpy(), atol=1e-6)


def test_false_volume_is_in_cubic_millimetres_and_about_absent_structures_only():
    probs, truth = torch.zeros(3, 1, 4, 4, 4), torch.zeros(3, 1, 4, 4, 4, dtype=torch.bool)
    truth[0, 0, 0] = True  # present: what is painted beside it is no false volume
    probs[0, 0, 2:] = 1.0
    probs[1, 0, 0, 0, :3] = 1.0  # absent, 3 voxels painted; the third case is absent and left empty
    valid = torch.ones(3, 1, 4, 4, 4, dtype=torch.bool)
    metric = made(FalsePositiveVolume)
    statistics = metric.statistics(Scored(probs, truth, valid, 0.5, spacing=(2.0, 0.5, 3.0))).numpy()
    np.testing.assert_allclose(metric.class_values(statistics)[:, 0], [np.nan, 9.0, 0.0])
    assert headline(metric, statistics) == pytest.approx(4.5)


@pytest.mark.parametrize("kind", [Dice, SurfaceDice])
def test_masks_are_scored_where_the_structure_is_present_and_averages_tell_on_how_many_cases(kind):
    probs, truth, valid = random_case()
    metric = made(kind)
    result = score(metric, metric.statistics(Scored(probs, truth, valid, 0.5)).numpy(), seed=0)
    present = truth.flatten(2).any(2).sum(0).tolist()
    assert [entry.num_images for entry in result.per_class] == present
    for position, entry in enumerate(result.per_class):
        there = truth[:, position].flatten(1).any(1)
        found = probs[:, position].flatten(1).amax(1)[there]
        assert entry.value == pytest.approx(found.mean().item())  # 1 where the blob was found, 0 where it was missed


def test_a_single_structure_is_left_out_where_it_is_absent_only_if_the_task_says_so():
    probs, truth, valid = random_case(structures=1)
    statistics = made(Dice).statistics(Scored(probs, truth, valid, 0.5)).numpy()
    judged, present_only = made(Dice), made(Dice)
    present_only.present_only = True
    absent = ~truth.flatten(2).any(2)[:, 0].numpy()
    assert np.isnan(present_only.class_values(statistics)[absent, 0]).all()
    assert not np.isnan(judged.class_values(statistics)[absent, 0]).all()
