import numpy as np
import pytest
from scipy import ndimage

from segcli.core.errors import ConfigError
from segcli.data.postprocess import Cleaning, Postprocess, clean

SIZES = {2: (60, 70), 3: (24, 30, 27)}


def masks(seed, ndim=2):
    rng = np.random.default_rng(seed)
    sigma, level = (1.5, 0.5) if ndim == 2 else (0.8, 0.54)
    return ndimage.gaussian_filter(rng.random(SIZES[ndim]), sigma) > level


def cleaned(mask, **settings):
    probs = np.where(mask, 0.9, 0.2).astype(np.float32)[None]
    return clean(probs, Postprocess(**settings), ("vessel",), exclude=False, threshold=0.5)[0] >= 0.5


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_pieces_and_holes_are_those_of_scipy(seed, ndim):
    mask = masks(seed, ndim)
    wall = ~masks(seed, ndim)  # whose background has many holes
    for one in (mask, wall):
        filled = ndimage.binary_fill_holes(one)
        np.testing.assert_array_equal(cleaned(one, fill_holes=True), filled)
    assert (filled != wall).any()
    labels, count = ndimage.label(mask, np.ones((3,) * ndim, bool))
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    largest = labels == 1 + np.argmax(sizes)
    np.testing.assert_array_equal(cleaned(mask, largest_component=True), largest)
    assert count > 3
    middle = int(np.median(sizes)) + 1
    kept = np.isin(labels, 1 + np.flatnonzero(sizes >= middle))
    assert kept.sum() < mask.sum()
    np.testing.assert_array_equal(cleaned(mask, min_size=middle), kept)


def test_holes_are_filled_before_pieces_are_measured():
    mask = np.zeros((30, 30), bool)
    mask[2:12, 2:12] = True
    mask[3:11, 3:11] = False  # a ring of 36 pixels around 64
    mask[20:27, 20:27] = True  # a square of 49
    found = cleaned(mask, fill_holes=True, largest_component=True)
    assert found.sum() == 100
    assert not found[20:27, 20:27].any()


def test_voxels_that_touch_at_a_corner_between_planes_are_one_piece_and_let_no_hole_out():
    mask = np.zeros((5, 7, 7), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 0, 2] = True  # a stair of corners: three voxels
    mask[4, 4:6, 6] = True  # two more, apart
    np.testing.assert_array_equal(cleaned(mask, largest_component=True).sum(), 3)
    np.testing.assert_array_equal(cleaned(mask, min_size=3).sum(), 3)
    shell = np.ones((5, 5, 5), bool)
    shell[1:4, 1:4, 1:4] = False
    shell[0, 0, 0] = False  # touches the hollow at a corner only
    assert cleaned(shell, fill_holes=True).sum() == 124
    shell[0, 1, 1] = False  # opens it
    assert cleaned(shell, fill_holes=True).sum() == shell.sum()


def test_in_a_volume_a_class_that_loses_a_piece_leaves_it_to_the_next():
    probs = np.zeros((3, 4, 6, 6), np.float32)
    probs[0], probs[1], probs[2] = 0.5, 0.3, 0.2
    probs[:, 1:3, 1:3, 1:3] = np.array([0.1, 0.2, 0.7])[:, None, None, None]
    probs[:, 3, 5, 5] = [0.1, 0.3, 0.6]
    settings = Postprocess(classes={"car": Cleaning(largest_component=True)})
    found = clean(probs, settings, ("sky", "road", "car"), exclude=True, threshold=0.5).argmax(axis=0)
    assert found[3, 5, 5] == 1
    assert (found == 2).sum() == 8


def test_an_empty_mask_stays_empty_and_a_full_one_full():
    for value, size in ((False, (9, 9)), (True, (9, 9)), (False, (4, 5, 6)), (True, (4, 5, 6))):
        mask = np.full(size, value)
        np.testing.assert_array_equal(cleaned(mask, fill_holes=True, largest_component=True, min_size=5), mask)


def test_a_pixel_that_a_class_loses_falls_to_the_next_and_other_classes_are_left_alone():
    probs = np.zeros((3, 8, 8), np.float32)
    probs[0], probs[1], probs[2] = 0.5, 0.3, 0.2
    probs[:, 1, 1] = [0.1, 0.3, 0.6]  # a single pixel of `car`, whose next is `road`
    probs[:, 4:7, 4:7] = np.array([0.1, 0.1, 0.8])[:, None, None]
    before = probs.copy()
    settings = Postprocess(classes={"car": Cleaning(min_size=4)})
    found = clean(probs, settings, ("sky", "road", "car"), exclude=True, threshold=0.5).argmax(axis=0)
    assert found[1, 1] == 1
    assert (found[4:7, 4:7] == 2).all()
    np.testing.assert_array_equal(probs, before)


def test_a_hole_in_a_class_becomes_that_class():
    probs = np.zeros((2, 9, 9), np.float32)
    probs[0], probs[1] = 0.8, 0.2
    probs[:, 2:7, 2:7] = np.array([0.2, 0.8])[:, None, None]
    probs[:, 4, 4] = [0.9, 0.1]
    settings = Postprocess(classes={"car": Cleaning(fill_holes=True)})
    found = clean(probs, settings, ("sky", "car"), exclude=True, threshold=0.5)
    assert found.argmax(axis=0)[4, 4] == 1
    np.testing.assert_allclose(found.sum(axis=0), 1.0)


def test_a_class_that_is_none_is_told():
    with pytest.raises(ConfigError, match="names `carr`, which is not a class"):
        Postprocess(classes={"carr": Cleaning()}).check(("car",))
    Postprocess(min_size=9).check(("car",))


def test_of_two_largest_pieces_of_a_volume_the_one_that_opencv_meets_first_stays():
    mask = np.zeros((2, 4, 8), bool)
    mask[1, 3, :2] = True  # later planes lose, however far to the left
    mask[0, 0, 5:7] = mask[0, 1, 1:3] = True  # both in the first row of squares of 2 x 2 pixels
    settings = Postprocess(largest_component=True)
    cleaned = clean(mask[None].astype(np.float32), settings, ("it",), exclude=False, threshold=0.5)[0]
    expected = np.zeros_like(mask)
    expected[0, 1, 1:3] = True
    np.testing.assert_array_equal(cleaned > 0.5, expected)
