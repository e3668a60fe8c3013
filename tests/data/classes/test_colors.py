import numpy as np
import pytest

from segcli.data.classes.colors import MAX_COLORS, UNKNOWN, ColorTable


def every_color():
    """All 2^24 colours as one picture of 4096 x 4096."""
    packed = np.arange(1 << 24, dtype=np.uint32).reshape(4096, 4096)
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8), packed


@pytest.mark.parametrize("count", [1, 13, MAX_COLORS])
def test_every_one_of_all_colors_gets_the_index_of_its_class_or_none(count):
    picture, packed = every_color()
    chosen = np.random.default_rng(count).choice(1 << 24, count, replace=False)
    table = ColorTable([(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in chosen])
    order = np.argsort(chosen)
    at = np.searchsorted(chosen[order], packed).clip(max=count - 1)
    expected = np.where(chosen[order][at] == packed, order[at], UNKNOWN)
    np.testing.assert_array_equal(table.indices(picture), expected)


def test_a_picture_that_is_a_window_of_another_is_read_as_well():
    table = ColorTable([(1, 2, 3), (4, 5, 6)])
    picture = np.zeros((40, 50, 3), np.uint8)
    picture[::2], picture[1::2] = (1, 2, 3), (4, 5, 6)
    np.testing.assert_array_equal(table.indices(picture[1:30:3, 5:45:2, :])[:, 0], [1, 0] * 5)
    np.testing.assert_array_equal(table.indices(picture[:, :, ::-1]), UNKNOWN)


def test_strays_are_told_with_count_and_nearest_the_most_frequent_first():
    table = ColorTable([(0, 0, 0), (128, 64, 128)])
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[0, :2], picture[1, :3] = (3, 4, 0), (128, 64, 127)
    found = table.strays(picture, table.indices(picture))
    assert [(s.color, s.count, s.nearest, s.distance) for s in found] == [
        ((128, 64, 127), 3, 1, 1.0),
        ((3, 4, 0), 2, 0, 5.0),
    ]
    assert table.strays(picture[2:], table.indices(picture[2:])) == []


def test_filling_takes_the_nearest_color_and_leaves_the_others_alone():
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (9, 3))
    table = ColorTable([tuple(map(int, color)) for color in colors])
    picture = rng.integers(0, 256, (31, 17, 3), dtype=np.uint8)
    picture[5] = colors[7]
    distances = ((picture[:, :, None].astype(int) - colors) ** 2).sum(-1)
    filled = table.filled(picture, table.indices(picture))
    np.testing.assert_array_equal(
        distances.min(-1), np.take_along_axis(distances, filled[..., None].astype(int), -1)[..., 0]
    )
    assert (filled[5] == 7).all()
