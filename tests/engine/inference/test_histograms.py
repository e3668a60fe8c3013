"""AUC and average precision of many images: little memory, the same values, and nearly the same intervals."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segcli.core.registry import METRICS
from segcli.data.samples import Case
from segcli.engine.inference.kept.figures import Figures
from segcli.engine.inference.kept.sketches import GROUPS, groups_of, sketched
from segcli.engine.inference.scores import Tally, headline, part_of, score
from segcli.metrics import BINS, HistogramMetric, Scored
from segcli.metrics.auc import AUC
from segcli.metrics.average_precision import AveragePrecision

NEAR = 1e-3
"""Largest difference between ends of intervals."""


def metric(name):
    made = METRICS.load(name)(METRICS.load(name).Config())
    made.name = name
    return made


def usual(rng):
    """Logits as a trained network gives them, some of them saturated."""
    truth = rng.random((1, 2, 40, 40)) < rng.uniform(0.02, 0.2)
    logits = rng.normal(-3, 2, truth.shape) + truth * rng.normal(3, 1)
    return truth, np.where(rng.random(truth.shape) < 0.3, -200.0, logits)


def untrained(rng):
    """Logits that lie within 0.1 of each other."""
    truth, _ = usual(rng)
    return truth, rng.uniform(0, 0.1, truth.shape) + truth * rng.normal(0.02, 0.02)


def images(count, of):
    rng = np.random.default_rng(0)
    for index in range(count):
        truth, logits = of(rng)
        probs = torch.from_numpy(logits).float().sigmoid()
        valid = torch.ones(truth.shape, dtype=torch.bool)
        yield (
            Case(f"{index}", None, group="ab"[index % 2]),
            Scored(probs, torch.from_numpy(truth & (index % 5 > 0)), valid, 0.5),
        )


def add(figures, tally, case, scored):
    statistics = {name: rows.numpy() for name, rows in tally.of(scored).items()}
    figures.add(case, losses={}, statistics=statistics, matrix=None, whole={})


@pytest.mark.parametrize("of", [usual, untrained])
def test_sketches_change_no_value_and_no_interval_by_a_thousandth(of):
    made = [metric("auc"), metric("average_precision")]
    whole, figures = Tally(made), Figures(made)
    for case, scored in images(50, of):
        whole.add(scored)
        add(figures, whole, case, scored)
    sketched_tally = figures.tally(Tally(made))
    for each in made:
        expected, found = (score(each, tally.statistics(each), seed=1) for tally in (whole, sketched_tally))
        assert str(replace(found, interval=None, per_class=[])) == str(replace(expected, interval=None, per_class=[]))
        pairs = [(found, expected), *zip(found.per_class, expected.per_class, strict=True)]
        for one, other in pairs:
            assert one.value == other.value
            assert one.interval == pytest.approx(other.interval, abs=NEAR)
            assert other.interval[1] - other.interval[0] > 5 * NEAR


def test_an_image_takes_a_few_kibibytes():
    ((_, scored),) = images(1, usual)
    sketches = sketched(metric("auc").statistics(scored)[0].numpy().reshape(2, 2, -1))
    assert sketches.nbytes / len(sketches) <= 6 * 1024


def test_a_sketch_from_the_bins_that_hold_pixels_equals_that_from_all():
    ((_, scored),) = images(1, usual)
    counts = metric("auc").statistics(scored)[0].numpy().reshape(2, 2, -1)
    assert np.array_equal(sketched(counts, HistogramMetric.occupied(counts)), sketched(counts))


def test_groups_hold_small_shares_of_both_kinds_of_pixels_and_full_bins_are_alone():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, (2, 5000))
    counts[0, 700] = counts.sum()
    last = groups_of(counts, GROUPS)
    assert (np.diff(last) >= 0).all()
    assert {699, 700} <= set(last)
    shares = np.diff((np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True))[:, last], prepend=0)
    assert np.delete(shares, np.searchsorted(last, 700), axis=1).max() <= 2 * 3 / GROUPS


def test_scenarios_and_images_of_other_processes_are_scored_like_all():
    made = [metric("auc"), metric("average_precision")]
    tally, every = Tally(made), list(images(7, usual))
    alone, shares = Figures(made), [Figures(made), Figures(made)]
    for index, (case, scored) in enumerate(every):
        add(alone, tally, case, scored)
        add(shares[index % 3 == 0], tally, case, scored)
    positions = [[1, 2, 4, 5], [0, 3, 6]]
    world = SimpleNamespace(gathered=lambda _: list(zip(positions, shares, strict=True)))
    together = shares[0].shared(world, positions[0])
    assert [case.id for case in together.cases] == [case.id for case in alone.cases]
    for each in made:
        expected, found = (figures.tally(Tally(made)).statistics(each) for figures in (alone, together))
        assert str(score(each, found, seed=0)) == str(score(each, expected, seed=0))
        rows = np.array([case.group == "b" for case, _ in every])
        whole = np.concatenate([each.statistics(scored).numpy() for _, scored in every])
        assert headline(each, part_of(found, "b", rows)) == headline(each, whole[rows])


@pytest.mark.parametrize("kind", [AUC, AveragePrecision])
def test_values_without_empty_bins_have_the_bits_of_those_of_all_bins(kind):
    rng, metric = np.random.default_rng(4), kind(kind.Config())
    counts = np.zeros((3, 2 * BINS), np.int32)
    for row, pixels in enumerate((0, 40, 3000)):
        np.add.at(counts[row], rng.integers(9000, 12000, pixels) + BINS * rng.integers(0, 2, pixels), 1)
    expected = metric.from_histograms(counts[:, :BINS].astype(float), counts[:, BINS:].astype(float))
    assert metric.values(counts).tobytes() == expected.tobytes()
    assert np.isnan(metric.values(counts[:1]))  # no pixel counts, so all bins are empty
