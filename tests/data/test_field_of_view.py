"""Fields of view: estimated on drawn photographs, and read from masks."""

import cv2
import numpy as np
import pytest
import tifffile

from segcli import files
from segcli.core.errors import DataError
from segcli.data import field_of_view
from segcli.data.field_of_view import estimated, read_field

SIZE = (200, 240)


def photograph(size=SIZE, *, centre=None, radius=90, seed=0, channels=3):
    """A noisy orange disc on an almost black border, and the disc."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[: size[0], : size[1]]
    y, x = centre or (size[0] / 2, size[1] / 2)
    disc = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    light = 0.6 + 0.4 * columns / size[1]
    image = np.where(disc, 1.0, 0.0)[:, :, None] * light[:, :, None] * np.array([200, 90, 40][:channels])
    image = cv2.GaussianBlur(image, (0, 0), 1.0).reshape(*size, channels) + 4 + rng.normal(0, 3, (*size, channels))
    return image.clip(0, 255).astype(np.uint8), disc


def field_of(image):
    return estimated(image.shape[:2], lambda window: image[window])


def overlap(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"radius": 110},  # cut above and below
        {"radius": 118, "size": (200, 220)},  # only the corners are dark
        {"centre": (100, 0)},  # half of the disc
        {"centre": (200, 240), "radius": 150},  # a quarter of it
        {"channels": 1},
        {"size": (64, 64), "radius": 28},
    ],
)
def test_a_disc_on_a_dark_border_is_found_wherever_the_frame_cuts_it(shape):
    image, disc = photograph(**shape)
    assert overlap(field_of(image).inside, disc) > 0.94


def test_a_dark_photograph_one_of_16_bits_a_grey_border_and_writing_change_little():
    image, disc = photograph()
    noted = image.copy()
    cv2.putText(noted, "OD 12", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255))
    raised = np.clip(image * 0.8 + 30, 0, 255).astype(np.uint8)
    for changed in (image // 3, image.astype(np.uint16) * 257, image.astype(np.float32) / 255, raised, noted):
        assert overlap(field_of(changed).inside, disc) > 0.95


def test_the_edge_is_left_out_and_not_the_inside():
    image, disc = photograph(size=(1000, 1000), radius=450)
    found = field_of(image).inside
    near = cv2.dilate(disc.astype(np.uint8), np.ones((3, 3))) > 0
    far = cv2.erode(disc.astype(np.uint8), np.ones((15, 15))) > 0
    assert not (found & ~near).any()
    assert found[far].all()


def grass():
    return np.random.default_rng(1).integers(60, 200, (*SIZE, 3)).astype(np.uint8)


def cells():
    image = np.full((*SIZE, 3), 8, np.uint8)
    for y, x in np.random.default_rng(2).integers(10, 190, (30, 2)):
        cv2.circle(image, (int(x), int(y)), 8, (90, 120, 90), -1)
    return image


def window():
    image = grass()
    image[:, :40] = image[:30] = 5
    return image


@pytest.mark.parametrize("picture", [grass, cells, window, lambda: np.zeros((*SIZE, 3), np.uint8)])
def test_a_picture_without_a_bright_disc_on_a_dark_border_has_no_field(picture):
    assert field_of(picture()) is None


def test_a_large_picture_is_read_in_parts_and_has_the_field_of_the_whole(monkeypatch):
    image, disc = photograph(size=(301, 407), radius=140)
    monkeypatch.setattr(field_of_view, "SIDE", 150)
    whole = field_of(image)
    assert overlap(whole.inside, disc) > 0.96
    monkeypatch.setattr(field_of_view, "STEP", 64)
    read = []

    def part(window):
        read.append(image[window].shape[:2])
        return image[window]

    field = estimated(image.shape[:2], part)
    np.testing.assert_array_equal(field.inside, whole.inside)
    assert max(max(shape) for shape in read) <= 64
    assert sum(height * width for height, width in read) == 301 * 407  # each pixel once
    rows = [field.rows(slice(top, min(top + 37, 301))) for top in range(0, 301, 37)]
    np.testing.assert_array_equal(np.concatenate(rows), whole.inside)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (90, 200)])
def test_a_mask_marks_the_field_by_1_by_255_or_above_the_middle_grey(tmp_path, low, high):
    mask = np.full((5, 11), low, np.uint8)
    mask[1:4, 2:9] = high
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    field = read_field(tmp_path / "mask.png")
    assert field.size == (5, 11)
    np.testing.assert_array_equal(field.inside, mask == high)
    np.testing.assert_array_equal(field.rows(slice(1, 3)), mask[1:3] == high)


@pytest.mark.parametrize("factor", [1, 255])
def test_a_large_mask_is_read_strip_by_strip(tmp_path, monkeypatch, factor):
    mask = (np.random.default_rng(0).random((100, 83)) > 0.5).astype(np.uint8)
    mask[40:] *= factor  # the first strip holds 0 and 1
    tifffile.imwrite(tmp_path / "mask.tif", mask, tile=(16, 16))
    monkeypatch.setattr(files, "LARGE", 1)
    monkeypatch.setattr(field_of_view, "STEP", 32)
    monkeypatch.setattr(field_of_view, "read_marks", None)  # it would read the whole
    np.testing.assert_array_equal(read_field(tmp_path / "mask.tif").inside, mask > (127 if factor > 1 else 0))


def test_an_empty_mask_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"mask `.*mask.png` is empty: it marks no pixel as inside"):
        read_field(tmp_path / "mask.png")
