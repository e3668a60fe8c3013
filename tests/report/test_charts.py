import math
import re
from xml.etree import ElementTree

import pytest

from segcli.report.charts import MOST_POINTS, Curve, chart, ticks


def lines(drawn, kind):
    """Points of each polyline of a kind; reading as XML fails on anything left open."""
    figure = ElementTree.fromstring(drawn)
    found = [line.get("points") for line in figure.iter("polyline") if line.get("class") == kind]
    return [[tuple(map(float, point.split(","))) for point in points.split()] for points in found]


def test_curves_are_drawn_to_scale():
    points = [(1, 0.9), (2, 0.4), (5, 0.1), (9, 0.3)]
    drawn = chart("loss", [Curve("training", "train", points), Curve("validation", "val", [(9, 1.2), (1, 0.5)])])
    (line,) = lines(drawn, "train")
    assert len(line) == 4
    (x0, y0), (x1, y1) = line[0], line[1]
    for (x, y), (epoch, value) in zip(line, points, strict=True):
        assert x == pytest.approx(x0 + (epoch - 1) * (x1 - x0), abs=0.4)
        assert y == pytest.approx(y0 + (value - 0.9) * (y1 - y0) / (0.4 - 0.9), abs=0.4)
    assert y1 > y0  # a smaller value is further down
    assert all(0 <= x <= 360 and 0 <= y <= 210 for x, y in [*line, *lines(drawn, "val")[0]])


def test_what_is_not_defined_interrupts_a_curve():
    points = [(1, 0.1), (2, 0.2), (3, math.nan), (4, 0.3), (5, math.inf), (6, 0.4), (7, 0.5)]
    drawn = chart("dice", [Curve("validation", "val", points)])
    assert [len(line) for line in lines(drawn, "val")] == [2, 2]
    assert drawn.count("<circle") == 5  # the lone fourth as well
    assert "nan" not in drawn
    assert "no finite value" in chart("dice", [Curve("validation", "val", [(1, math.nan)])])


def test_the_marked_epoch_is_where_its_point_is():
    drawn = chart("dice", [Curve("validation", "val", [(1, 0.1), (2, 0.5), (3, 0.2)])], mark=2)
    mark = re.search(r'class="mark" x1="([\d.]+)"', drawn).group(1)
    assert float(mark) == lines(drawn, "val")[0][1][0]
    assert "epoch 2<" in drawn


@pytest.mark.parametrize("points", [[(1, 0.5)], [(1, 0.5), (2, 0.5)], [(3, 0.0)], [(1, -1e-9), (2, 1e12)]])
def test_one_epoch_and_equal_values_can_be_drawn(points):
    drawn = chart("loss", [Curve("training", "train", points)], mark=1)
    assert drawn.count("<circle") == len(points)
    assert not re.search(r"nan|inf(?!o)", drawn)


def test_a_long_training_is_drawn_with_fewer_points_and_its_last_one():
    drawn = chart("loss", [Curve("training", "train", [(epoch, epoch % 7) for epoch in range(1, 5001)])])
    (line,) = lines(drawn, "train")
    assert MOST_POINTS / 2 < len(line) <= MOST_POINTS + 1
    assert line[-1][0] == pytest.approx(348, abs=0.1)
    assert "<circle" not in drawn


def test_a_curve_is_told_in_words():
    drawn = chart("lo<ss", [Curve("training", "train", [(1, 0.5), (2, 0.25)])])
    svg = next(ElementTree.fromstring(drawn).iter("svg"))
    assert svg.get("aria-label") == "lo<ss by epoch: training from 0.5 in epoch 1 to 0.25 in epoch 2"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.58, 0.78), (-3e-7, 8e-7), (1, 2), (0, 12345), (7, 7.001)])
def test_ticks_are_few_and_within(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 9
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
