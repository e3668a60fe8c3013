"""Arrays of NumPy as images and volumes."""

import numpy as np
import pytest

from segcli.core.errors import DataError
from segcli.data.images import read_image, read_labels, read_voxels
from segcli.files import read_header

IMAGE = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
VOXELS = np.random.default_rng(1).integers(0, 999, (5, 9, 7)).astype(">i2")


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("first", [True, False])
def test_channels_of_an_image_may_be_first_or_last_and_none_is_left_out(tmp_path, channels, first):
    image = np.dstack([IMAGE, IMAGE[:, :, :1]])[:, :, :channels]
    np.save(tmp_path / "a.npy", np.moveaxis(image, -1, 0) if first else image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy"), image)
    header = read_header(tmp_path / "a.npy")
    assert (header.size, header.channels, header.itemsize) == ((9, 7), channels, 1)


def test_bits_are_black_and_white_as_image_and_0_and_1_as_labels(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE[:, :, 0])
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npy"), IMAGE[:, :, 0])
    np.save(tmp_path / "a.npy", IMAGE[:, :, 0] > 100)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npy"), (IMAGE[:, :, 0] > 100) * np.uint8(1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy")[:, :, 0], (IMAGE[:, :, 0] > 100) * np.uint8(255))


def test_volumes_have_the_byte_order_of_the_machine(tmp_path):
    np.save(tmp_path / "a.npy", VOXELS)
    found = read_voxels(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, VOXELS[..., None])
    assert found.dtype == np.int16
    np.save(tmp_path / "a.npy", np.stack([VOXELS, VOXELS + 1]))
    np.testing.assert_array_equal(read_voxels(tmp_path / "a.npy"), np.stack([VOXELS, VOXELS + 1], -1))


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([{}]), "cannot read image `.*a.npy`"),
        (np.zeros((2, 3, 4, 5)), "one 2D image was expected"),
        (np.zeros((6, 5, 7)), "one 2D image was expected"),
        (np.zeros((0, 5)), "one 2D image was expected"),
        (np.full((3, 4), "a"), "holds <U1 values"),
    ],
)
def test_what_is_no_image_is_told(tmp_path, array, text):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=text):
        read_image(tmp_path / "a.npy")


def test_a_file_that_is_cut_off_is_told(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"a.npy` is truncated: it ends before its data"):
        read_image(tmp_path / "a.npy")


def test_a_second_array_in_the_file_is_not_passed_over(tmp_path):
    with (tmp_path / "a.npy").open("wb") as stream:
        np.save(stream, IMAGE)
        np.save(stream, IMAGE)
    with pytest.raises(DataError, match=r"a.npy` holds 317 more bytes after its array, such as a second array"):
        read_image(tmp_path / "a.npy")


def test_a_picture_is_no_volume_and_a_single_number_is_no_picture(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE[:, :, 0])
    with pytest.raises(DataError, match=r"a.npy` holds an array of shape \(9, 7\), but one volume was expected"):
        read_voxels(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.float32(3))
    with pytest.raises(DataError, match=r"b.npy` holds an array of shape \(\), but one 2D image was expected"):
        read_image(tmp_path / "b.npy")
