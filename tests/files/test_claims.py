"""Headers that claim more than the file, or the memory, can hold: refused in words before memory is taken."""

import io
import json
import struct
import zlib

import h5py
import numpy as np
import pytest
import tifffile
from factories import write_dicom
from PIL import Image
from png_parts import SIGNATURE, part

from segcli.core import free_memory
from segcli.core.errors import DataError
from segcli.data.images import read_marks
from segcli.files import create, open_picture, reading
from segcli.files.hdf5 import HDF5


def _png(path, side):
    header = part(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    path.write_bytes(SIGNATURE + header + part(b"IDAT", zlib.compress(bytes(1000))) + part(b"IEND", b""))


def _bmp(path, side):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, "BMP")
    content = bytearray(buffer.getvalue())
    struct.pack_into("<ii", content, 18, side, side)
    path.write_bytes(content)


def _gif(path, side):
    screen = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    path.write_bytes(screen + b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x4c\x01\x00;")


def _tiff(path, side, **options):
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), photometric="minisblack", **options)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tags = {tag.name: (tag.valueoffset, tag.dtype) for tag in tiff.pages[0].tags}
    for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
        if name in tags:
            struct.pack_into("<I" if tags[name][1] == 4 else "<H", content, tags[name][0], side)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.png", lambda path: _png(path, 100_000)),
        ("a.bmp", lambda path: _bmp(path, 100_000)),
        ("a.gif", lambda path: _gif(path, 65_535)),
        ("a.tif", lambda path: _tiff(path, 60_000, compression="zlib")),
        ("b.tif", lambda path: _tiff(path, 60_000)),
    ],
)
def test_more_pixels_than_the_bytes_of_the_file_can_hold_are_refused_when_it_is_opened(tmp_path, name, make):
    make(tmp_path / name)
    with pytest.raises(DataError) as caught:
        open_picture(tmp_path / name, 2).read_labels()
    assert "header states " in caught.value.message or "truncated" in caught.value.message


def test_a_slice_of_dicom_with_more_pixels_than_its_bytes_is_refused(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    for path in write_dicom(tmp_path / "series", np.zeros((2, 4, 4), np.int16)).iterdir():
        data = pydicom.dcmread(path)
        data.Rows = data.Columns = 65_535
        data.save_as(path)
    with pytest.raises(DataError, match="is truncated: its header states 65535x65535 pixels, but its "):
        open_picture(tmp_path / "series", 3)


def test_more_cases_than_the_bytes_of_an_hdf5_file_can_hold_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (10**12, 8, 8, 8), np.float32, chunks=(1, 8, 8, 8))
    with pytest.raises(DataError, match=r"states 1,000,000,000,000 cases in `images`, but its .* cannot hold them"):
        HDF5.members(tmp_path / "a.h5")


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(free_memory, "free_bytes", lambda: 2**20)
    monkeypatch.setattr(free_memory, "CHECKED", 2**10)


@pytest.mark.parametrize(("name", "ndim"), [("a.npy", 2), ("a.tif", 2), ("a.png", 2), ("a.npy", 3), ("a.tif", 3)])
def test_what_does_not_fit_in_the_free_memory_is_refused_and_its_parts_are_read(tmp_path, name, ndim, little_memory):
    voxels = np.zeros((64, 128, 256)[-ndim:] if ndim == 3 else (1024, 2048), np.uint8)
    with create(tmp_path / name, voxels.shape, voxels.dtype) as add:
        add(voxels)
    with open_picture(tmp_path / name, ndim) as picture:
        for read in (picture.read, picture.read_labels):
            with pytest.raises(DataError, match=r"values, which take 0.0 GiB, but only 0.0 GiB of memory are free"):
                read()
        assert picture.read((slice(0, 2),) * ndim).shape == (*(2,) * ndim, 1)


def test_a_chunk_that_does_not_fit_in_the_free_memory_is_refused(tmp_path, little_memory):
    pytest.importorskip("zarr")
    (tmp_path / "a.zarr").mkdir()
    about = {"zarr_format": 2, "shape": [4096, 4096], "chunks": [4096, 4096], "dtype": "|u1", "compressor": None}
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps({**about, "fill_value": 0, "order": "C", "filters": None}))
    (tmp_path / "a.zarr/0.0").write_bytes(bytes(10))
    with (
        open_picture(tmp_path / "a.zarr", 2) as picture,
        pytest.raises(DataError, match=r"states 16777216 values, .* of memory are free"),
    ):
        picture.read((slice(0, 2), slice(0, 2)))


def test_exhausted_memory_is_blamed_on_the_file(tmp_path):
    with pytest.raises(DataError, match=r"the memory is too small to read `.*a.png`"), reading(tmp_path / "a.png"):
        raise MemoryError


@pytest.mark.posix
def test_the_limit_of_the_process_counts_as_free_memory(monkeypatch):
    resource = pytest.importorskip("resource")
    before = free_memory.free_bytes()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**40, 2**40))
    used = 2**40 - 2**30
    monkeypatch.setattr(free_memory.psutil.Process, "memory_info", lambda _: type("M", (), {"vms": used})())
    assert free_memory.free_bytes() == min(2**30, before) or before < 2**30


def test_files_that_the_kernel_keeps_for_a_container_count_as_free_memory(tmp_path, monkeypatch):
    values = {"memory.max": "5000", "memory.current": "4000", "memory.stat": "anon 900\ninactive_file 3000\nshmem 100"}
    for name, text in values.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path)
    monkeypatch.setattr(free_memory, "memory_limit", lambda: None)
    assert free_memory.free_bytes() == 5000 - 1000


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 7}, {"compression": "packbits"}, {"compression": "lzw"}])
def test_one_bit_per_pixel_is_not_taken_for_a_truncated_file(tmp_path, options):
    mask = np.random.default_rng(0).random((300, 1000)) > 0.5
    tifffile.imwrite(tmp_path / "mask.tif", mask, **options)
    assert (read_marks(tmp_path / "mask.tif").values.astype(bool) == mask).all()
