import numpy as np

from segcli.data.planes import ANATOMICAL, GAP, HEAD, Planes

SIZE = (8, 12, 16)
GREEN = (0, 255, 120)
SCALE = 16
"""Pixels of a voxel: the longest side of the volume gets 256."""


def picture(answer, *, spacing=None, upright=False, image=None):
    """Of an answer over a grey volume, given in two parts."""
    planes = Planes(SIZE)
    planes.add(slice(0, 5), answer[:5])
    planes.add(slice(5, 8), answer[5:])
    if image is None:
        image = np.random.default_rng(0).integers(90, 110, (*SIZE, 1)).astype(np.uint8)

    def tinted(part):
        return np.broadcast_to(np.array(GREEN, np.uint8), (*part.shape, 3)), part > 0

    return planes.picture(lambda window: image[window], tinted, spacing, upright=upright)


def tiles(drawn, heights, width, column):
    """Whether each pixel of the three planes along each axis is tinted."""
    coloured = drawn.max(axis=2) > drawn.min(axis=2)
    top = GAP + HEAD
    for height in heights:
        yield [coloured[top : top + height, left : left + width] for left in GAP + column * np.arange(3)]
        top += height + HEAD + 2 * GAP


def test_planes_lie_at_quarters_of_each_axis_and_show_what_is_found_there():
    answer = np.zeros(SIZE, np.uint8)
    answer[4, :, 4:12] = 1  # a slab in the middle of the first axis, the left part of the last
    drawn = picture(answer)
    d, h, w = (SCALE * length for length in SIZE)
    assert drawn.shape == (h + d + d + 3 * (HEAD + 2 * GAP), 3 * (w + 2 * GAP), 3)
    first, second, third = tiles(drawn, (h, d, d), w, w + 2 * GAP)
    assert [bool(tile.any()) for tile in first] == [False, True, False]
    assert first[1][:, 4 * SCALE : 12 * SCALE].all()
    assert not first[1][:, 12 * SCALE :].any()
    for tile in second:
        np.testing.assert_array_equal(np.flatnonzero(tile.any(axis=1)), range(4 * SCALE, 5 * SCALE))
        np.testing.assert_array_equal(np.flatnonzero(tile.any(axis=0)), range(4 * SCALE, 12 * SCALE))
    assert [bool(tile.any()) for tile in third] == [True, True, False]  # at 4, 8 and 12 of 16
    for tile in third[:2]:
        np.testing.assert_array_equal(np.flatnonzero(tile.any(axis=1)), range(4 * SCALE, 5 * SCALE))


def test_a_dark_plane_is_as_dark_as_its_volume_has_it():
    image = np.full((*SIZE, 1), 200, np.uint8)
    image[:3], image[3:5] = 0, 20
    drawn = picture(np.zeros(SIZE, np.uint8), image=image)
    row, column, apart = GAP + HEAD + SCALE, GAP + SCALE, 2 * GAP + SCALE * SIZE[2]
    assert drawn[row, column : column + 3 * apart : apart, 0].tolist() == [0, 25, 255]


def test_planes_are_stretched_by_the_spacing_and_turned_upright():
    answer = np.zeros(SIZE, np.uint8)
    answer[:, :, 0:4] = 1  # the lowest quarter of the body
    drawn = picture(answer, spacing=(2.0, 1.0, 3.0), upright=True)
    tall, wide, deep = 256, round(256 / 3), 64  # 48, 16 and 12 mm
    assert drawn.shape[0] == tall + tall + deep + 3 * (HEAD + 2 * GAP)
    coloured = drawn.max(axis=2) > drawn.min(axis=2)
    plane = coloured[GAP + HEAD : GAP + HEAD + tall, GAP : GAP + deep]  # from back to front, and from bottom to top
    assert plane[3 * tall // 4 :].all()
    assert not plane[: 3 * tall // 4].any()
    axial = coloured[-GAP - deep : -GAP, GAP : GAP + wide]  # at a quarter of the height, above what is found
    assert not axial.any()


def test_every_plane_has_its_name_above_it_and_a_patient_has_sides(monkeypatch):
    answer = np.zeros(SIZE, np.uint8)
    plain, turned = picture(answer), picture(answer, upright=True)
    for drawn, heights in ((plain, (192, 128, 128)), (turned, (256, 256, 192))):
        top = GAP
        for height in heights:
            assert (drawn[top : top + HEAD] > 250).any(axis=(0, 2)).sum() > 60  # white letters
            top += HEAD + height + 2 * GAP
    monkeypatch.setattr("segcli.data.planes.ANATOMICAL", [(name, "", "") for name, _, _ in ANATOMICAL])
    rows = np.flatnonzero((picture(answer, upright=True) != turned).any(axis=(1, 2))) - GAP - HEAD
    top, middle, low = (rows[(rows >= start) & (rows < start + 256)] - start for start in (0, 288, 576))
    for found, center in ((top, 128), (middle, 128), (low, 96)):  # the letters stand in the middle of the edges
        assert center - 12 < found.min() < found.max() < center + 12


def test_a_large_volume_is_reduced_and_never_enlarged():
    planes = Planes((4, 600, 1200))
    planes.add(slice(0, 4), np.zeros((4, 600, 1200), np.uint8))
    drawn = planes.picture(
        lambda window: np.zeros(
            [len(range(*part.indices(n))) for part, n in zip(window, (4, 600, 1200), strict=True)] + [1]
        ),
        lambda part: (np.zeros((*part.shape, 3), np.uint8), part > 0),
        None,
        upright=False,
    )
    assert drawn.shape[1] == 3 * (512 + 2 * GAP)
