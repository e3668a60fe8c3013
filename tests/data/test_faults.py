from contextlib import closing

import cv2
import numpy as np
import pytest
from planted import cells

from segcli.data.faults.alignment import Fit, inverted, shifted
from segcli.data.faults.brightness import brightness_of, saturated
from segcli.data.faults.likeness import alike, look_of
from segcli.data.faults.numbers import IMAGENET, far_numbers
from segcli.data.faults.seen import moments_of
from segcli.data.faults.tiles import KeptEdges, divided_pictures, edges_of
from segcli.data.moments import Moments
from segcli.data.samples import Sample


def jpeg(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


CHANGES = {
    "jpeg": lambda image: jpeg(image, 60),
    "half": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "twice": lambda image: cv2.resize(image, None, fx=2, fy=2),
    "squeezed": lambda image: cv2.resize(image, (100, 160), interpolation=cv2.INTER_AREA),
    "mirrored": lambda image: image[::-1],
    "turned": np.rot90,
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "all": lambda image: jpeg(cv2.resize(np.ascontiguousarray(image[:, ::-1]), None, fx=0.7, fy=0.7), 70),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_recognised_among_others_and_nothing_else(change):
    images = [cells(seed, (160, 192), 14)[0] for seed in range(12)]
    copy = CHANGES[change](images[5])
    looks = {
        "train": [look_of(image[:, :, None]) for image in images[:8]],
        "val": [look_of(each[:, :, None]) for each in (*images[8:], np.ascontiguousarray(copy))],
    }
    (pair,) = alike(looks)
    assert (pair.one, pair.other) == (("train", 5), ("val", 4))
    assert pair.turned == (change in ("mirrored", "turned", "all"))


def test_tiles_are_joined_to_pictures_and_tiles_of_one_split_are_left_alone():
    whole, other = (
        cv2.GaussianBlur(cells(seed, size, 60)[0], (0, 0), 1.5)[:, :, None]
        for seed, size in ((3, (256, 384)), (4, (128, 256)))
    )
    tiles = {
        "train": [whole[:128, :128], other[:, :128], other[:, 128:]],
        "val": [whole[128:, :128], cells(9, (128, 128))[0][:, :, None]],
        "test": [whole[128:, 128:256]],
    }
    splits = {"train": [0, 1, 2], "val": [3, 4], "test": [5]}
    with closing(KeptEdges(edges_of(tile) for members in tiles.values() for tile in members)) as edges:
        assert list(divided_pictures(edges, splits)) == [[("test", 5), ("train", 0), ("val", 3)]]


def test_images_that_are_all_brighter_in_the_middle_are_no_tiles():
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    lamp = 200 - 60 * (rows**2 + columns**2)
    noise = np.random.default_rng(0).normal(0, 2, (6, 96, 96, 1))
    with closing(KeptEdges(edges_of((lamp[:, :, None] + each).astype(np.uint8)) for each in noise)) as edges:
        assert list(divided_pictures(edges, {"train": [0, 1, 2, 3], "val": [4, 5]})) == []
        assert list(divided_pictures(edges, {"train": [0], "val": [1]})) == []


def test_pieces_of_one_fabric_are_no_copies_but_a_copy_of_a_piece_is_found():
    rows, columns = np.mgrid[:128, :128]

    def piece(seed):
        rng = np.random.default_rng(seed)
        across, along = rng.random(2) * 2 * np.pi
        threads = np.sin(2 * np.pi * columns / 7 + across) + np.sin(2 * np.pi * rows / 9 + along)
        holes = cells(seed, (128, 128), 3)[1] > 0
        return np.where(holes, 60, 128 + 35 * threads + rng.normal(0, 8, rows.shape)).clip(0, 255).astype(np.uint8)

    pieces = [piece(seed) for seed in range(48)]
    looks = [look_of(each[:, :, None]) for each in pieces]
    assert list(alike({"train": looks[:32], "val": looks[32:]})) == []
    copy = look_of(jpeg(pieces[3], 80)[:, :, None])
    found = {(pair.one[1], pair.other[1]) for pair in alike({"train": looks[:32], "val": [*looks[32:], copy]})}
    assert found == {(3, 16)}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_fast_moments_equal_the_exact_ones(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, np.iinfo(dtype).max, (40, 30, 3)).astype(dtype)
    sample = Sample(image, {"valid": (rng.random((40, 30)) > 0.4).astype(np.uint8)})
    fast, exact = moments_of(sample), Moments.of(sample)
    assert fast.count == exact.count
    np.testing.assert_allclose(fast.means, exact.means)
    np.testing.assert_allclose(fast.squares, exact.squares)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kept", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("inside", [1, 255])
def test_sums_of_the_valid_pixels_of_8_bits_are_whole_numbers(channels, kept, inside):
    rng = np.random.default_rng(channels)
    image = rng.choice(np.array([0, 1, 254, 255], np.uint8), (210, 333, channels))
    counts = rng.random(image.shape[:2]) < kept
    found = moments_of(Sample(image, {"valid": counts.astype(np.uint8) * np.uint8(inside)}))
    values = image[counts].astype(object)  # whole numbers of any size
    number, sums, squares = len(values), values.sum(axis=0), (values**2).sum(axis=0)
    assert found.count == number
    if number:
        assert found.means.tolist() == [total / number / 255 for total in sums]
        spread = [(number * square - total**2) / number / 255**2 for square, total in zip(squares, sums, strict=True)]
        assert found.squares.tolist() == spread
    else:
        assert not found.means.any()
        assert not found.squares.any()


def fit(shift=(0, 0), *, best=6.0, here=None, scale=1.0, share=0.2, contrast=1.0):
    return Fit(shift, best, best if here is None else here, scale, share, contrast)


def test_masks_that_are_all_shifted_alike_are_blamed_together_and_not_one_by_one():
    assert list(shifted([fit((6, -3), scale=2.0, here=1.0)] * 5)) == [(None, (-12, 6))]


def test_masks_of_straight_layers_which_fit_anywhere_along_them_are_not_blamed_together():
    assert list(shifted([fit((0, 25), best=6.0, here=5.5)] * 5)) == []


def test_a_mask_is_blamed_only_if_it_fits_much_better_elsewhere():
    good = [fit()] * 5
    assert list(shifted([*good, fit((0, 8), best=6.0, here=5.5)])) == []
    assert list(shifted([*good, fit((0, 8), best=6.0, here=4.5)])) == [(5, (0, -8))]


def test_no_mask_is_blamed_where_it_fits_badly_everywhere_or_most_masks_do():
    assert list(shifted([*[fit(best=8.0)] * 5, fit((0, 8), best=5.5, here=1.0)])) == []
    unclear = [fit(best=4.0)] * 8
    assert list(shifted([*[fit()] * 5, *unclear, fit((0, 8), best=6.0, here=1.0)])) == []
    assert list(shifted([*[fit()] * 5, *unclear[:3], fit((0, 8), best=6.0, here=1.0)])) == [(8, (0, -8))]


def test_no_mask_is_blamed_where_the_masks_disagree_on_their_place():
    apart = [fit(shift, here=1.0) for shift in ((9, 0), (0, 9), (-9, 0), (0, -9))]
    assert list(shifted([*[fit()] * 5, *apart])) == []
    assert list(shifted([*[fit()] * 10, *apart])) == [(10, (-9, 0)), (11, (0, -9)), (12, (9, 0)), (13, (0, 9))]


def test_a_mask_of_usual_size_on_a_dark_structure_is_not_inverted():
    usual = [fit(share=0.2)] * 5
    assert list(inverted([*usual, fit(share=0.25, contrast=-1.0)])) == []
    assert list(inverted([*usual, fit(share=0.75, contrast=-1.0)])) == [5]


def test_no_mask_is_inverted_where_structures_are_as_often_dark_as_bright():
    dark = [fit(share=0.8, contrast=-1.0)] * 3
    assert list(inverted([*[fit()] * 4, *dark])) == []
    assert list(inverted([*[fit()] * 7, *dark])) == [7, 8, 9]


def test_bright_images_are_not_saturated_where_all_images_are_bright():
    page, dark = np.full((20, 20, 1), 255, np.uint8), np.full((20, 20, 1), 90, np.uint8)
    page[5:8], dark[0] = 0, 0
    half = np.concatenate([dark, page])
    assert list(saturated([brightness_of(each) for each in (dark, dark, dark, half)])) == [3]
    assert list(saturated([brightness_of(each) for each in (page, page, page, half)])) == []


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_far_numbers_are_told_for_any_number_of_channels(channels):
    measured = [0.1] * channels, [0.05] * channels
    (finding,) = far_numbers([0.4] * channels, [0.2] * channels, *measured)
    assert finding.code == "far_numbers"
    mean, std = ((numbers + [0.4] * 4)[:channels] for numbers in IMAGENET)
    (finding,) = far_numbers(mean, std, *measured)
    assert finding.code == ("imagenet_numbers" if channels <= 3 else "far_numbers")
