import numpy as np
import pytest

from segcli.samples.cells import Cells

SIZE = 96


@pytest.fixture(scope="module")
def examples():
    return [Cells().example(0, "train", index, SIZE) for index in range(4)]


def test_the_same_seed_draws_the_same_pixels_and_another_index_others(examples):
    again = Cells().example(0, "train", 2, SIZE)
    assert np.array_equal(again.image, examples[2].image)
    assert np.array_equal(again.label, examples[2].label)
    assert not np.array_equal(examples[0].image, examples[1].image)


def test_images_are_grey_and_cells_are_a_tenth_to_a_half_of_them(examples):
    for example in examples:
        assert example.image.shape == example.label.shape == (SIZE, SIZE)
        assert set(np.unique(example.label)) == {0, 255}
        assert 0.1 < (example.label > 0).mean() < 0.5


def test_cells_are_brighter_than_what_is_around_them(examples):
    for example in examples:
        inside, outside = example.image[example.label > 0], example.image[example.label == 0]
        assert np.median(inside) > np.quantile(outside, 0.9)


def test_data_sample_writes_a_set_that_data_check_finds_ready(run_cli, workplace):
    assert run_cli("data", "sample", "cells", "cells", "--size", 64).code == 0
    result = run_cli("data", "check", "cells/dataset.yaml")
    assert result.code == 0, result.out
    assert "0 errors, 0 warnings" in result.out
