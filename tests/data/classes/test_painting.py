import numpy as np

from segcli.data.classes.lettering import legend_below
from segcli.data.classes.painting import overlay

RED, BLUE = (200, 0, 0), (0, 0, 200)


def halves(size=(40, 60)):
    painted = np.full((*size, 3), RED, np.uint8)
    painted[:, size[1] // 2 :] = BLUE
    return painted


def test_classes_tint_the_image_and_are_outlined_where_they_meet():
    image = np.full((40, 60, 3), 100, np.uint8)
    picture = overlay(image, halves(), np.ones((40, 60), bool), alpha=0.5)
    assert picture[5, 5].tolist() == [150, 50, 50]
    assert picture[5, 55].tolist() == [50, 50, 150]
    assert picture[5, 29].tolist() == list(RED)
    assert picture[5, 30].tolist() == list(BLUE)


def test_what_is_not_shown_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 32, (40, 60, 1), dtype=np.uint8).repeat(3, axis=2)
    shown = np.zeros((40, 60), bool)
    shown[10:20, 10:20] = True
    picture = overlay(image, halves(), shown)
    assert np.array_equal(picture[~shown], image[~shown])
    assert (picture[shown] != image[shown]).any()


def test_the_legend_names_each_class_in_its_colour_and_wraps():
    picture = np.zeros((40, 120, 3), np.uint8)
    one = legend_below(picture, ["road"], [RED])
    three = legend_below(picture, ["road", "pedestrian", "Straße é"], [RED, BLUE, (0, 200, 0)])
    assert one.shape[1] == three.shape[1] == 120
    assert 40 < one.shape[0] < three.shape[0]
    for color in (RED, BLUE, (0, 200, 0)):
        assert (three[40:] == color).all(axis=2).sum() > 50
    assert (one[40:] < 100).all(axis=2).any()  # the name in black


def test_the_legend_has_room_for_the_longest_name_and_letters_of_other_scripts():
    picture = np.zeros((40, 30, 3), np.uint8)
    drawn = legend_below(picture, ["gallbladder", "желчный пузырь"], [RED, BLUE])
    assert drawn.shape[1] > 120
    assert np.array_equal(drawn[:40, :30], picture)
    assert (drawn[:40, 30:] == 255).all()
    assert (drawn[40:, -3:] == 255).all()  # nothing is cut off
    assert not np.array_equal(drawn, legend_below(picture, ["gallbladder", "жёлчный лузырь"], [RED, BLUE]))
    assert legend_below(picture, [], []) is picture
