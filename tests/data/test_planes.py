import numpy as np

from segcli.data.planes import GAP, Planes

SIZE = (8, 12, 16)
GREEN = (0, 255, 120)


def picture(answer, *, spacing=None, upright=False):
    """Of an answer over a grey volume, given in two parts."""
    planes = Planes(SIZE)
    planes.add(slice(0, 5), answer[:5])
    planes.add(slice(5, 8), answer[5:])
    image = np.random.default_rng(0).integers(90, 110, (*SIZE, 1)).astype(np.uint8)

    def tinted(part):
        return np.broadcast_to(np.array(GREEN, np.uint8), (*part.shape, 3)), part > 0

    return planes.picture(lambda window: image[window], tinted, spacing, upright=upright)


def tiles(drawn, heights, width):
    """Whether each pixel of the three planes along each axis is tinted."""
    coloured = drawn.max(axis=2) > drawn.min(axis=2)
    top = 0
    for height in heights:
        yield [
            coloured[top + GAP : top + GAP + height, left + GAP : left + GAP + width]
            for left in range(0, 3 * (width + 2 * GAP), width + 2 * GAP)
        ]
        top += height + 2 * GAP


def test_planes_lie_at_quarters_of_each_axis_and_show_what_is_found_there():
    answer = np.zeros(SIZE, np.uint8)
    answer[4, :, 4:12] = 1  # a slab in the middle of the first axis, the left part of the last
    drawn = picture(answer)
    assert drawn.shape == (12 + 8 + 8 + 6 * GAP, 3 * (16 + 2 * GAP), 3)
    first, second, third = tiles(drawn, (12, 8, 8), 16)
    assert [bool(tile.any()) for tile in first] == [False, True, False]
    assert first[1][:, 4:12].all()
    assert not first[1][:, 12:].any()
    for tile in second:
        np.testing.assert_array_equal(np.flatnonzero(tile.any(axis=1)), [4])
        np.testing.assert_array_equal(np.flatnonzero(tile.any(axis=0)), range(4, 12))
    assert [bool(tile.any()) for tile in third] == [True, True, False]  # at 4, 8 and 12 of 16
    assert all(np.array_equal(np.flatnonzero(tile.any(axis=1)), [4]) for tile in third[:2])


def test_planes_are_stretched_by_the_spacing_and_turned_upright():
    answer = np.zeros(SIZE, np.uint8)
    answer[:, :, 0:4] = 1  # the lowest quarter of the body
    drawn = picture(answer, spacing=(2.0, 1.0, 3.0), upright=True)
    assert drawn.shape == (48 + 48 + 12 + 6 * GAP, 3 * (16 + 2 * GAP), 3)
    coloured = drawn.max(axis=2) > drawn.min(axis=2)
    plane = coloured[GAP : GAP + 48, GAP : GAP + 12]  # from back to front, and from bottom to top
    assert plane[36:].all()
    assert not plane[:36].any()
