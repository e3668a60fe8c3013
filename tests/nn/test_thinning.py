import cv2
import numpy as np
import pytest

from segcli.nn import thinning
from segcli.nn.thinning import REMOVABLE, thinned


def blobs(seed):
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.normal(size=(60, 70)), (0, 0), rng.uniform(0.4, 4)) > 0


def components(mask, connectivity):
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)[0] - 1


@pytest.mark.parametrize("seed", range(6))
def test_thinning_agrees_with_scikit_image_pixel_by_pixel(seed):
    morphology = pytest.importorskip("skimage.morphology")
    np.testing.assert_array_equal(thinned(blobs(seed)), morphology.thin(blobs(seed)))


@pytest.mark.parametrize("seed", range(6))
def test_lines_lie_in_the_mask_keep_its_components_and_holes_and_are_thin(seed):
    mask = blobs(seed)
    lines = thinned(mask)
    assert not (lines & ~mask).any()
    assert components(lines, 8) == components(mask, 8)
    # padded, so that the background around the mask is one
    assert components(~np.pad(lines, 1), 4) == components(~np.pad(mask, 1), 4)
    np.testing.assert_array_equal(thinned(lines), lines)
    assert lines.sum() < 0.7 * mask.sum()


def test_the_line_of_a_bar_is_its_middle():
    bar = np.zeros((9, 20), bool)
    bar[2:7, 2:18] = True
    row, column = np.nonzero(thinned(bar))
    assert set(row) == {4}
    assert (column.min(), column.max()) == (4, 15)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 5), (7, 7)])
def test_nothing_is_erased_at_the_border_of_the_image(size):
    assert thinned(np.ones(size, bool)).any()


def test_a_diagonal_two_pixels_wide_stays_a_line():
    diagonal = np.eye(20, dtype=bool) | np.eye(20, k=1, dtype=bool)
    assert thinned(diagonal).sum() >= 18


@pytest.mark.parametrize("seed", range(6))
def test_a_look_at_neighbours_of_removed_pixels_alone_finds_the_same_lines(monkeypatch, seed):
    everywhere = thinned(blobs(seed))
    monkeypatch.setattr(thinning, "SMALL", 1)
    monkeypatch.setattr(thinning, "FEW", 1)
    np.testing.assert_array_equal(thinned(blobs(seed)), everywhere)


def test_the_whole_mask_is_looked_at_no_more_often_for_a_wide_object(monkeypatch):
    looks = []
    filtered = cv2.filter2D
    monkeypatch.setattr(cv2, "filter2D", lambda *words, **options: looks.append(1) or filtered(*words, **options))
    thinned(np.ones((800, 800), bool))
    assert len(looks) == 2  # both halves of the first step, of about 400


def test_an_empty_mask_has_no_lines():
    assert not thinned(np.zeros((5, 5), bool)).any()


@pytest.mark.parametrize("missing", range(8))
def test_a_pixel_with_one_neighbour_missing_is_no_edge_to_be_thinned(missing):
    assert not any(table[255 - 2**missing] for table in REMOVABLE)
