"""Labels that went through floating point."""

import numpy as np
import pytest
import tifffile

from segcli.core.errors import DataError
from segcli.data.images import read_labels
from segcli.data.whole_numbers import whole


def test_numbers_within_a_thousandth_are_rounded():
    values = np.array([-0.0009, 1.0000001, 1.9991, 255.0005], np.float32)
    found = whole(values, "mask `a`")
    assert found.tolist() == [0, 1, 2, 255]
    assert found.dtype.kind == "i"


@pytest.mark.filterwarnings("error")
def test_numbers_of_16_bits_are_rounded_without_a_warning_of_numpy():
    assert whole(np.array([0, 1, 2.0], np.float16), "mask `a`").tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="holds inf"):
        whole(np.array([0, np.inf], np.float16), "mask `a`")


def test_integers_stay_as_they_are():
    values = np.array([0, 7], np.uint16)
    assert whole(values, "mask `a`") is values


@pytest.mark.parametrize(
    ("values", "text", "advice"),
    [
        (
            [0, 0.5, 0.5, 0.998],
            r"^mask `a` holds 0.5 \(2 times\) and 1 other such values, but a label",
            "probabilities",
        ),
        ([0, 0.0039], r"holds 0.0039 \(1 times\), but a label is a whole number", "without a scale factor"),
        ([0, 2, 1.4], r"holds 1.4 \(1 times\), but a label is a whole number", "nearest-neighbour"),
        ([0, 2, 1.9985], r"holds 1.9985 \(1 times\), but", "nearest-neighbour"),
        ([0, 1, np.nan], r"holds nan \(1 times\), but", "where NaN or infinity stands"),
        ([0, 1, 1e12], r"holds 1e\+12 \(1 times\), but", "nearest-neighbour"),
    ],
)
def test_other_numbers_are_refused_with_the_value_and_advice_that_fits(values, text, advice):
    with pytest.raises(DataError, match=text) as caught:
        whole(np.array(values), "mask `a`")
    assert advice in caught.value.hint


def test_a_floating_point_tiff_mask_of_whole_numbers_is_read(tmp_path):
    mask = np.array([[0, 1.0000001], [255.0001, 0]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", mask)
    assert read_labels(tmp_path / "a.tif").tolist() == [[0, 1], [255, 0]]
    tifffile.imwrite(tmp_path / "b.tif", mask / 2)
    with pytest.raises(DataError, match=r"label `.*b.tif` holds 0.5 "):
        read_labels(tmp_path / "b.tif")
