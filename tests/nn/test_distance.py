import numpy as np
import pytest
from scipy import ndimage

from segcli.nn.distance import distance_to, outline, outline_distances


def random_mask(size, share, seed=0):
    return np.random.default_rng(seed).random(size) < share


@pytest.mark.parametrize("share", [0.002, 0.05, 0.7, 1.0])
@pytest.mark.parametrize(
    ("size", "spacing"),
    [
        ((40, 31), (1.0, 1.0)),
        ((40, 31), (0.3, 0.3)),
        ((40, 31), (2.5, 0.7)),
        ((17, 22, 19), (1.0, 1.0, 1.0)),
        ((17, 22, 19), (5.0, 0.4, 1.3)),
        ((1, 30, 1), (1.0, 2.0, 1.0)),
    ],
)
def test_distances_agree_with_scipy(size, spacing, share):
    mask = random_mask(size, share)
    mask.flat[3] = True
    expected = ndimage.distance_transform_edt(~mask, sampling=spacing)
    np.testing.assert_allclose(distance_to(mask, spacing), expected, rtol=1e-14, atol=0)
    asked = random_mask(size, 0.1, seed=1)
    np.testing.assert_allclose(distance_to(mask, spacing, at=asked), expected[asked], rtol=1e-14, atol=0)


def test_distances_stay_exact_when_they_are_compared_in_parts(monkeypatch):
    mask = random_mask((6, 7, 8), 0.02)
    whole = distance_to(mask, (2.0, 1.0, 1.5))
    monkeypatch.setattr("segcli.nn.distance.CHUNK", 20)
    np.testing.assert_array_equal(distance_to(mask, (2.0, 1.0, 1.5)), whole)


def test_a_view_that_is_not_contiguous_is_measured_as_well():
    mask = random_mask((20, 30), 0.05)
    np.testing.assert_allclose(distance_to(mask.T[::-1]), distance_to(mask).T[::-1])


@pytest.mark.parametrize("size", [(4, 5), (3, 4, 5)])
def test_an_empty_mask_is_infinitely_far(size):
    assert np.isposinf(distance_to(np.zeros(size, bool))).all()


@pytest.mark.parametrize("size", [(20, 17), (9, 10, 8)])
def test_the_outline_is_what_an_erosion_removes(size):
    mask = random_mask(size, 0.8)
    np.testing.assert_array_equal(outline(mask), mask & ~ndimage.binary_erosion(mask))


def test_distances_run_from_outline_to_outline_and_not_into_the_mask():
    outer, inner = np.zeros((11, 11), bool), np.zeros((11, 11), bool)
    outer[1:10, 1:10], inner[5, 5] = True, True
    to_outer, to_inner = outline_distances(inner, outer, (1.0, 2.0))
    assert to_outer.tolist() == [4.0]  # not 0, though the pixel lies in the larger mask; rows are nearer than columns
    assert len(to_inner) == 32
    assert to_inner.max() == pytest.approx(np.hypot(4, 8))


@pytest.mark.parametrize("ndim", [2, 3])
def test_two_empty_masks_have_no_outline(ndim):
    empty = np.zeros((4,) * ndim, bool)
    assert [entry.size for entry in outline_distances(empty, empty, (1.0,) * ndim)] == [0, 0]


@pytest.mark.parametrize(
    "spacing",
    [(1.0, 1.0), (0.7, 1.3), (5.0, 0.8, 0.8), (0.8, 5.0, 0.8), (0.8, 0.8, 5.0), (0.5, 0.5, 0.5), (0.7, 0.9, 1.3)],
)
def test_the_order_of_the_axes_changes_no_distance(spacing):
    rng = np.random.default_rng(0)
    size = (7, 9, 11)[: len(spacing)]
    mask, asked = rng.random(size) < 0.05, rng.random(size) < 0.5
    points = np.argwhere(mask) * spacing
    expected = np.array([np.linalg.norm(points - place, axis=1).min() for place in np.argwhere(asked) * spacing])
    np.testing.assert_allclose(distance_to(mask, spacing, at=asked), expected, rtol=1e-12)
    everywhere = distance_to(mask, spacing)
    assert everywhere.shape == size
    np.testing.assert_allclose(everywhere[asked], expected, rtol=1e-12)
    assert np.isinf(distance_to(np.zeros(size, bool), spacing)).all()
