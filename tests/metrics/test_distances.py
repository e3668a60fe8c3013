"""HD95, ASSD and surface Dice against SciPy, in 2D and 3D."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from segcli.core.registry import METRICS
from segcli.engine.inference.scores import score
from segcli.metrics import Scored

SPACINGS = [None, (0.5, 0.5), (2.0, 0.7), (3.0, 1.0, 1.0), (2.0, 0.5, 1.5)]


def metric(name, **options):
    made = METRICS.load(name)(METRICS.load(name).Config(**options))
    made.name = name
    return made


def statistics(made, found, truth, spacing=None, valid=None):
    """Of one image, `(n,)`."""
    valid = np.ones_like(truth) if valid is None else valid
    entries = (torch.from_numpy(entry)[None, None] for entry in (found.astype(np.float32), truth, valid))
    return made.statistics(Scored(*entries, 0.5, spacing)).numpy()[0, 0]


def value(name, *case, **options):
    made = metric(name, **options)
    return float(made.values(statistics(made, *case)))


def blobs(ndim, seed):
    rng = np.random.default_rng(seed)
    return [ndimage.gaussian_filter(rng.normal(size=(40, 37) if ndim == 2 else (14, 16, 15)), 2.0) > 0.02 for _ in "ab"]


def distances(found, truth, spacing):
    """From the outline of each to that of the other, by SciPy."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (found, truth)]
    fields = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return fields[1][edges[0]], fields[0][edges[1]]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_values_agree_with_scipy(spacing, seed):
    found, truth = blobs(len(spacing or (1, 1)), seed)
    one, other = distances(found, truth, spacing)
    expected = max(np.percentile(one, 95), np.percentile(other, 95))
    assert value("hd95", found, truth, spacing) == pytest.approx(expected, abs=1e-12)
    both = np.concatenate([one, other])
    assert value("assd", found, truth, spacing) == pytest.approx(both.mean(), abs=1e-12)
    for tolerance in (0.0, 0.7, 1.5):
        expected = (both <= tolerance).mean()
        assert value("surface_dice", found, truth, spacing, tolerance_mm=tolerance) == pytest.approx(expected)


def test_one_stray_pixel_does_not_decide_hd95_but_a_stray_structure_does():
    truth = np.zeros((60, 60), bool)
    truth[5:30, 5:30] = True
    found = truth.copy()
    found[55, 55] = True
    assert value("hd95", found, truth) == 0.0
    found[40:60, 40:60] = True
    assert value("hd95", found, truth) > 30


def test_distance_is_measured_in_millimetres_not_voxels():
    truth = np.zeros((12, 12, 12), bool)
    truth[3:8, 3:8, 3:8] = True
    found = np.roll(truth, 1, axis=0)  # one voxel apart: 3 mm along the first axis
    spacing = (3.0, 1.0, 1.0)
    assert value("surface_dice", found, truth, spacing, tolerance_mm=3.0) == 1.0
    assert value("surface_dice", found, truth, spacing, tolerance_mm=0.5) < 1.0
    assert value("hd95", found, truth, spacing) == 3 * value("hd95", np.roll(truth, 1, axis=1), truth, spacing)


def test_a_tolerance_of_three_steps_holds_three_steps():
    truth, found = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    truth[1, 4] = found[4, 4] = True
    assert value("surface_dice", found, truth, (0.1, 0.1), tolerance_mm=0.3) == 1.0
    assert value("surface_dice", found, truth, (0.1, 0.1), tolerance_mm=0.29) == 0.0


@pytest.mark.parametrize("name", ["hd95", "assd", "surface_dice"])
def test_of_empty_masks(name):
    some, none = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    some[2:4, 2:4] = True
    half = 0.0 if name == "surface_dice" else np.nan
    for found, truth, expected in ((none, none, np.nan), (some, none, half), (none, some, half)):
        np.testing.assert_equal(value(name, found, truth), expected)


@pytest.mark.parametrize("name", ["hd95", "assd", "surface_dice"])
def test_what_is_not_valid_is_in_neither_mask(name):
    found, truth = blobs(2, 0)
    valid = np.zeros_like(truth)
    valid[5:30, 8:] = True
    made = metric(name)
    np.testing.assert_array_equal(
        statistics(made, found, truth, None, valid), statistics(made, found & valid, truth & valid)
    )


def test_over_all_pixels_outlines_are_pooled_and_percentiles_have_no_value():
    cases = [blobs(2, seed) for seed in range(3)]
    cases.append([cases[0][0], np.zeros_like(cases[0][0])])  # nothing to be found
    parts = [np.concatenate(distances(*case, None)) for case in cases[:3]]

    def scored(name):
        made = metric(name)
        return score(made, np.stack([statistics(made, *case) for case in cases])[:, None], seed=0)

    assd, hd95 = scored("assd"), scored("hd95")
    assert assd.pooled == pytest.approx(np.concatenate(parts).mean(), abs=1e-12)
    assert assd.value == assd.mean == pytest.approx(np.mean([part.mean() for part in parts]), abs=1e-12)
    assert assd.num_images == hd95.num_images == 3
    assert hd95.value == pytest.approx(np.mean([value("hd95", *case) for case in cases[:3]]), abs=1e-12)
    assert np.isnan(hd95.pooled)
    assert not assd.higher_is_better
    assert not hd95.higher_is_better
    assert scored("surface_dice").higher_is_better


def test_channels_and_images_are_measured_apart():
    found, truth = (np.stack([blobs(2, seed)[index] for seed in range(4)]).reshape(2, 2, 40, 37) for index in (0, 1))
    entries = (torch.from_numpy(entry) for entry in (found.astype(np.float32), truth, np.ones((2, 1, 40, 37), bool)))
    made = metric("assd")
    values = made.values(made.statistics(Scored(*entries, 0.5)).numpy())
    expected = [[value("assd", found[row, column], truth[row, column]) for column in (0, 1)] for row in (0, 1)]
    np.testing.assert_array_equal(values, expected)


def test_distances_are_computed_once_for_all_metrics(monkeypatch):
    from segcli.nn import scored

    calls = []
    measure = scored.outline_distances
    monkeypatch.setattr(scored, "outline_distances", lambda *args: calls.append(1) or measure(*args))
    found, truth = blobs(2, 0)
    shared = Scored(*(torch.from_numpy(entry)[None, None] for entry in (found.astype(np.float32), truth, truth)), 0.5)
    for name in ("hd95", "assd", "surface_dice"):
        metric(name).statistics(shared)
    assert len(calls) == 1
