import csv
import io

import cv2
import numpy as np

from segcli.report.confusion import drawn_matrix, write_matrix

PIXELS = np.array([[90, 10, 0], [0, 50, 0], [0, 0, 0]])
NAMES = ("road", "car", "tram, green")


def test_the_csv_holds_the_pixels_with_names_on_both_sides(tmp_path):
    write_matrix(tmp_path, PIXELS, NAMES)
    rows = list(csv.reader(io.StringIO((tmp_path / "confusion_matrix.csv").read_text())))
    assert rows[0][1:] == list(NAMES)
    assert [row[0] for row in rows[1:]] == list(NAMES)
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], int), PIXELS)


def test_the_picture_is_dark_where_a_class_is_found_as_itself(tmp_path):
    picture = cv2.imdecode(np.frombuffer(drawn_matrix(PIXELS, NAMES), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[0] > 300
    dark_blue = (picture[..., 0] > 80) & (picture[..., 2] < 60)
    assert dark_blue.sum() > 500
    nothing = cv2.imdecode(np.frombuffer(drawn_matrix(PIXELS * 0, NAMES), np.uint8), cv2.IMREAD_COLOR)
    colourbar_alone = (nothing[..., 0] > 80) & (nothing[..., 2] < 60)
    assert colourbar_alone.sum() < dark_blue.sum() / 2


def test_the_picture_of_many_classes_stays_small():
    names = [f"class {index}" for index in range(150)]
    picture = cv2.imdecode(np.frombuffer(drawn_matrix(np.eye(150) * 9, names), np.uint8), cv2.IMREAD_COLOR)
    assert max(picture.shape) < 2500  # 0.42 inches a class were 7000 pixels, and 2 GB to draw them
