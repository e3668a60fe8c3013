"""Slices whose place in the file is remembered are those that tifffile reads, also after the file has changed."""

import os

import numpy as np
import pytest
import tifffile

from segcli.files import tiff
from segcli.files._tiff_plain import PlainPages
from segcli.files.tiff import TIFF

VOXELS = np.random.default_rng(0).integers(0, 60000, (4, 20, 31), dtype=np.uint16)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(tiff, "PLAIN", PlainPages())


def read_twice(path, page=0, **options):
    return [TIFF.plane(path, page, **options) for _ in range(2)]


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("labels", [False, True])
def test_each_reading_gives_the_same_pixels(tmp_path, options, labels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VOXELS[0], **options)
    for found in read_twice(path, labels=labels):
        assert found.dtype == np.uint16
        assert np.array_equal(found, tifffile.imread(path))
    assert len(tiff.PLAIN.places) == (not {"compression", "tile"} & set(options))


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"metadata": None}])
def test_each_page_of_a_stack_is_read_from_its_own_place(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VOXELS, photometric="minisblack", **options)
    for page, plane in enumerate(VOXELS):
        assert all(np.array_equal(found, plane) for found in read_twice(path, page))


def test_white_as_zero_and_turned_pages_are_no_plain_ones(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VOXELS[0], photometric="miniswhite")
    assert all(np.array_equal(found, 65535 - VOXELS[0]) for found in read_twice(path))
    assert all(np.array_equal(found, VOXELS[0]) for found in read_twice(path, labels=True))
    tifffile.imwrite(path, VOXELS[1], extratags=[(274, 3, 1, 3, True)])
    assert all(np.array_equal(found, VOXELS[1, ::-1, ::-1]) for found in read_twice(path))


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VOXELS[0])
    read_twice(path)
    tifffile.imwrite(path, VOXELS[1], description="the pixels lie elsewhere now " * 20)
    os.utime(path, ns=(1, 1))
    assert all(np.array_equal(found, VOXELS[1]) for found in read_twice(path))
