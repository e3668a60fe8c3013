import cv2
import numpy as np
import pytest

from segcli.samples.vessels import Vessels

SIZE = 160


@pytest.fixture(scope="module")
def examples():
    return [Vessels().example(0, "train", index, SIZE) for index in range(4)]


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("image", "label", "fov"))


def test_the_same_seed_draws_the_same_pixels(examples):
    assert same(Vessels().example(0, "train", 2, SIZE), examples[2])


def test_every_index_split_and_seed_has_an_eye_of_its_own(examples):
    assert not np.array_equal(examples[0].image, examples[1].image)
    assert not np.array_equal(Vessels().example(0, "val", 0, SIZE).image, examples[0].image)
    assert not np.array_equal(Vessels().example(1, "train", 0, SIZE).image, examples[0].image)


def test_masks_have_the_size_of_the_image_and_two_values(examples):
    for example in examples:
        assert example.image.shape == (SIZE, SIZE, 3)
        assert example.label.shape == example.fov.shape == (SIZE, SIZE)
        assert set(np.unique(example.label)) == set(np.unique(example.fov)) == {0, 255}


def test_no_vessel_lies_outside_the_field_of_view(examples):
    assert not any((example.label[example.fov == 0] > 0).any() for example in examples)


def test_about_a_tenth_of_the_retina_is_vessels_as_in_real_photographs(examples):
    for example in examples:
        assert 0.06 < (example.label[example.fov > 0] > 0).mean() < 0.18


def test_vessels_are_darker_than_what_is_beside_them_so_that_they_can_be_learnt(examples):
    for example in examples:
        green = example.image[:, :, 1].astype(float)
        inner = (example.label > 0) & (cv2.erode(example.fov, np.ones((15, 15), np.uint8)) > 0)
        assert ((green - cv2.blur(green, (15, 15)))[inner] < 0).mean() > 0.75


def test_outside_the_field_of_view_it_is_almost_black(examples):
    for example in examples:
        assert example.image[example.fov == 0].mean() < 10


def test_data_sample_writes_a_set_that_data_check_finds_ready(run_cli, workplace):
    assert run_cli("data", "sample", "vessels", "eyes", "--size", 96).code == 0
    result = run_cli("data", "check", "eyes/dataset.yaml")
    assert result.code == 0, result.out
    assert "0 errors, 0 warnings" in result.out
    refused = run_cli("data", "sample", "vessels", "eyes")
    assert refused.code == 2
    assert "folder `eyes` is not empty" in refused.err
