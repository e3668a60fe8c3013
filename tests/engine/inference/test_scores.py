import tracemalloc

import numpy as np
import pytest
import scipy.stats
import torch

from segcli.core.registry import METRICS
from segcli.engine.inference.scores import LEVEL, RESAMPLES, Tally, headline, score
from segcli.metrics import Scored


def metric(name):
    made = METRICS.load(name)(METRICS.load(name).Config())
    made.name = name
    return made


def counts(*rows):
    return np.array(rows)[:, None, :]


def test_the_mean_leaves_out_images_for_which_a_metric_is_not_defined_and_says_how_many_are_left():
    # Dice 0.5, 1.0, and 0/0
    found = score(metric("dice"), counts([1, 1, 1, 7], [4, 0, 0, 6], [0, 0, 0, 10]), seed=0)
    assert found.value == found.mean == pytest.approx(0.75)
    assert found.num_images == 2
    assert found.pooled == pytest.approx(2 * 5 / (2 * 5 + 1 + 1))
    assert np.isnan(found.per_image[2])
    assert found.scope == "mean over images"


def test_nothing_defined_gives_nan_and_no_interval():
    found = score(metric("dice"), counts([0, 0, 0, 10], [0, 0, 0, 10]), seed=0)
    assert np.isnan(found.value)
    assert found.interval is None


def test_one_image_has_no_interval():
    assert score(metric("dice"), counts([1, 1, 1, 7]), seed=0).interval is None


def test_the_interval_agrees_with_scipy():
    rng = np.random.default_rng(0)
    statistics = rng.integers(1, 100, (30, 1, 4))
    made = metric("dice")
    values = made.values(statistics)[:, 0]
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=5000, rng=1
    ).confidence_interval
    np.testing.assert_allclose(score(made, statistics, seed=0).interval, expected, atol=0.01)


def test_the_interval_of_a_pooled_metric_draws_whole_images():
    rng = np.random.default_rng(0)
    made, tally = metric("auc"), Tally([metric("auc")])
    for shift in rng.normal(1.0, 0.8, 12):
        truth = torch.from_numpy(rng.random((1, 1, 20, 20)) < 0.3)
        probs = torch.from_numpy(rng.normal(size=(1, 1, 20, 20))).add(shift * truth).sigmoid()
        tally.add(Scored(probs, truth, torch.ones_like(truth), 0.5))
    found = score(made, tally.statistics(made), seed=0)
    low, high = found.interval
    assert low < found.value < high
    # images differ much more than pixels do: an interval over pixels would be far narrower
    assert high - low > 0.05
    assert found.scope == "all pixels"


def test_intervals_are_the_same_each_time():
    statistics = np.random.default_rng(0).integers(1, 100, (10, 1, 4))
    assert score(metric("iou"), statistics, seed=3).interval == score(metric("iou"), statistics, seed=3).interval


def test_resamples_are_drawn_in_one_stream_and_take_little_memory():
    count, seed = 2000, 3
    statistics = np.random.default_rng(0).integers(1, 100, (count, 1, 4))
    made = metric("dice")
    values = made.values(statistics)[:, 0]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    low, high = np.quantile(drawn @ values / count, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    tracemalloc.start()
    found = score(made, statistics, seed=seed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found.interval, (low, high), rtol=1e-12)
    assert peak / count < 6000  # all draws in 64 bits would take 8000 bytes for each image


def test_an_epoch_without_images_has_no_average():
    assert np.isnan(headline(metric("dice"), np.zeros((0, 1, 4))))


def test_a_tally_goes_on_where_it_was_saved():
    def batch(seed):
        generator = torch.Generator().manual_seed(seed)
        probs = torch.rand(2, 1, 8, 8, generator=generator)
        return Scored(probs, probs > 0.3, torch.ones(2, 1, 8, 8, dtype=torch.bool), 0.5)

    metrics = [metric("dice"), metric("iou")]
    whole, first, second = Tally(metrics), Tally(metrics), Tally(metrics)
    for seed in (0, 1):
        whole.add(batch(seed))
    first.add(batch(0))
    second.restore(first.state())
    second.add(batch(1))
    assert whole.averages() == second.averages()
