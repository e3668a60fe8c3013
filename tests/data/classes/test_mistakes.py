from itertools import combinations

import numpy as np
import pytest

from segcli.data.classes.class_list import class_colors
from segcli.data.classes.mistakes import FAR, MISTAKES, OTHERS, difference, mistake_colors
from segcli.data.classes.painting import FOREGROUND
from segcli.data.settings import DatasetSpec

DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
"""Linear RGB as seen without one kind of cone: Machado et al., 2009, https://doi.org/10.1109/TVCG.2009.113."""
CITYSCAPES = [(128, 64, 128), (244, 35, 232), (220, 20, 60), (255, 0, 0), (107, 142, 35), (70, 130, 180), (119, 11, 32)]


def lab(color):
    """CIELAB by the formulas of CIE 15, under D65."""
    part = np.asarray(color, float) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = (
        np.cbrt(value) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
        for value in np.array(to_xyz) @ linear / (0.95047, 1.0, 1.08883)
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(one, other):
    return float(np.linalg.norm(lab(one) - lab(other)))


def seen(color, eyes):
    part = np.asarray(color, float) / 255
    linear = np.array(eyes) @ np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    clipped = np.clip(linear, 0, 1)
    return 255 * np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def colors_of(count):
    return class_colors(DatasetSpec(name="d", format="sequences", num_channels=3, num_classes=count))


def test_the_distance_is_that_of_the_formulas():
    for one, other in combinations([*MISTAKES, FOREGROUND, (0, 0, 0), (255, 255, 255)], 2):
        assert difference(one, other) == pytest.approx(apart(one, other), abs=0.5)


def test_no_class_has_a_color_near_one_of_a_mistake():
    for color in [FOREGROUND, *colors_of(60)]:
        assert min(apart(color, mistake) for mistake in MISTAKES) >= FAR - 0.5, color


def test_the_colors_of_many_classes_differ_and_those_of_ten_look_different():
    assert len(set(colors_of(60))) == 60
    assert min(apart(*pair) for pair in combinations(colors_of(10), 2)) > 20


@pytest.mark.parametrize("eyes", [DEUTERANOPIA, PROTANOPIA])
def test_mistakes_are_told_apart_without_red_or_green(eyes):
    for colors in (MISTAKES, *OTHERS):
        assert min(apart(seen(one, eyes), seen(other, eyes)) for one, other in combinations(colors, 2)) > 20, colors


def test_a_data_set_with_the_colors_of_mistakes_gets_others():
    assert mistake_colors(colors_of(12), exclusive=False) == MISTAKES
    for own in ([MISTAKES.false], [MISTAKES.right, (9, 9, 9)], CITYSCAPES):
        chosen = mistake_colors(own, exclusive=False)
        assert chosen != MISTAKES
    chosen = mistake_colors(CITYSCAPES, exclusive=True)
    assert min(apart(chosen.missed, color) for color in CITYSCAPES) >= FAR
    assert mistake_colors([MISTAKES.right], exclusive=True) == MISTAKES  # only `missed` is drawn
