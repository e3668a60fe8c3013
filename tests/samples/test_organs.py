"""Generated bellies: organs where they belong, missing where the scenario says so."""

import h5py
import numpy as np
import pytest

from segcli.samples.organs import ORDER, ORGANS, SCENARIOS, Organs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("organs")
    maker = Organs()
    maker.default_counts = {"train": 8}
    assert len(list(maker.write(folder, seed=3, size=48))) == 8
    with h5py.File(folder / "train.h5") as file:
        return {key: file[key][:] for key in file}


def test_what_a_scenario_says_is_missing_and_nothing_else(made):
    names = [organ.name for organ in ORGANS]
    for index, scenario in enumerate(made["scenarios"]):
        assert scenario.decode() == ORDER[index]
        missing = [name for name, flag in zip(names, made["presence_labels"][index], strict=True) if not flag]
        assert sorted(missing) == sorted(SCENARIOS[ORDER[index]])
    flags = made["masks"].reshape(8, len(ORGANS), -1).any(2)
    np.testing.assert_array_equal(made["presence_labels"], flags)


def test_organs_lie_on_their_side_and_do_not_overlap(made):
    assert made["masks"].sum(1).max() == 1
    right, left = made["masks"][0, 3], made["masks"][0, 2]
    assert np.argwhere(right).mean(0)[0] < 20
    assert np.argwhere(left).mean(0)[0] > 28


def test_organs_can_be_seen_in_the_image(made):
    image, masks = made["images"][0], made["masks"][0]
    for organ, mask in zip(ORGANS, masks, strict=True):
        assert image[mask > 0].mean() == pytest.approx(organ.value, abs=0.08)
    assert (image.min(), image.max()) == (0.0, pytest.approx(1.0, abs=0.05))


def test_the_same_seed_draws_the_same_and_another_seed_another():
    draw = [Organs().draw(np.random.default_rng(seed), (24, 24, 16), ()) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draw[0][0], draw[1][0])
    assert (draw[0][0] != draw[2][0]).mean() > 0.5
