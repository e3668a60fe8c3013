"""Sizes that headers state: none is 0, and none is larger than the memory or than what is stored."""

import json

import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from segcli.core.errors import DataError
from segcli.data.images import read_voxels
from segcli.data.samples import Case
from segcli.data.sources import chunks_left_out
from segcli.files import open_picture

VOXELS = np.arange(12 * 16 * 20, dtype=np.uint16).reshape(12, 16, 20)


def zarr_of(path, shape, chunks=(4, 8, 10)):
    """An array of which 12 chunks are stored, whatever its shape."""
    zarr.create_array(path, shape=VOXELS.shape, dtype=VOXELS.dtype, chunks=chunks)[...] = VOXELS + 1
    stated = json.loads((path / "zarr.json").read_text()) | {"shape": list(shape)}
    (path / "zarr.json").write_text(json.dumps(stated))
    return path


def test_an_axis_of_length_0_is_refused_when_the_file_is_opened(tmp_path):
    with pytest.raises(DataError, match=r"a.zarr` holds no pixels: its size is 0x16x20"):
        open_picture(zarr_of(tmp_path / "a.zarr", (0, 16, 20)), 3)


def write_nifti(path):
    nibabel.save(nibabel.Nifti1Image(VOXELS, np.eye(4)), path)


def write_tiff(path):
    tifffile.imwrite(path, VOXELS, photometric="minisblack", compression="zlib")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.nii.gz", write_nifti),
        ("a.tif", write_tiff),
        ("a.npy", lambda path: np.save(path, VOXELS)),
        ("a.zarr", lambda path: zarr_of(path, VOXELS.shape)),
    ],
)
@pytest.mark.parametrize("labels", [False, True])
def test_a_volume_larger_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch, name, write, labels):
    write(tmp_path / name)
    assert read_voxels(tmp_path / name, labels=labels).shape == (*VOXELS.shape, 1)
    monkeypatch.setattr("segcli.core.free_memory.CHECKED", 0)
    monkeypatch.setattr("segcli.core.free_memory.free_bytes", lambda: VOXELS.nbytes - 1)
    with pytest.raises(DataError, match=rf"`.*{name}` states 12x16x20x1 values, .* of memory are free"):
        read_voxels(tmp_path / name, labels=labels)


def test_an_array_of_a_million_chunks_with_twelve_stored_is_refused_at_once_and_counted_at_once(tmp_path):
    path = zarr_of(tmp_path / "a.zarr", (40_000, 8_000, 10_000))
    told = "states 40000x8000x10000 pixels, but stores only 12 of its 10,000,000,000 chunks"
    with open_picture(path, 3) as picture, pytest.raises(DataError, match=told):
        picture.read((slice(0, 2), slice(0, 2), slice(0, 2)))
    (finding,) = chunks_left_out("train", [Case("a", path)], 3)
    assert "lacks 100% of its chunks" in finding.message
