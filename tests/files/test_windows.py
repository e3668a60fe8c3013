import time

import numpy as np
import pytest
import tifffile
import zarr

from segcli import files
from segcli.core.errors import DataError
from segcli.files import create, open_picture

IMAGE = np.random.default_rng(0).integers(0, 255, (301, 207, 3), dtype=np.uint8)
PARTS = [(slice(0, 301), slice(0, 207)), (slice(60, 70), slice(120, 207)), (slice(128, 256), slice(5, 6))]


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(files, "LARGE", 1)


def check(path, image):
    with open_picture(path, 2) as large:
        assert large.is_large
        assert (large.size, large.channels, large.itemsize) == (image.shape[:2], image.shape[2], image.itemsize)
        for window in PARTS:
            np.testing.assert_array_equal(large.read(window), image[window])
        np.testing.assert_array_equal(large.read(), image)


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (64, 48), "compression": "deflate"},
        {"tile": (64, 48), "compression": "deflate", "predictor": True, "bigtiff": True},
        {"tile": (16, 16)},
        {"rowsperstrip": 13, "compression": "lzw"},
        {"rowsperstrip": 400},
    ],
)
@pytest.mark.parametrize("kind", ["rgb8", "grey16", "grey_float"])
def test_windows_of_a_tiff_are_its_pixels(tmp_path, options, kind):
    image = {"rgb8": IMAGE, "grey16": IMAGE[:, :, :1] * np.uint16(257), "grey_float": IMAGE[:, :, :1] / np.float32(255)}
    if kind == "grey_float" and "predictor" in options:
        options = {**options, "predictor": 3}
    stored = image[kind] if kind == "rgb8" else image[kind][:, :, 0]
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb" if kind == "rgb8" else "minisblack", **options)
    check(tmp_path / "a.tif", image[kind])


def test_windows_of_a_tiff_with_jpeg_tiles_are_what_a_whole_reading_gives(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="ycbcr", compression="jpeg", tile=(64, 64))
    check(tmp_path / "a.tif", tifffile.imread(tmp_path / "a.tif"))


def test_of_a_pyramid_the_finest_level_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
        writer.write(IMAGE, subifds=1, **options)
        writer.write(IMAGE[::2, ::2], subfiletype=1, **options)
    check(tmp_path / "a.ome.tif", IMAGE)


def test_each_tile_is_decoded_once_while_it_is_near(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="rgb", tile=(64, 64), compression="deflate")
    large, calls = open_picture(tmp_path / "a.tif", 2), []
    decoded = type(large.pages)._decoded
    monkeypatch.setattr(type(large.pages), "_decoded", lambda self, index: calls.append(index) or decoded(self, index))
    for start in range(0, 140, 7):
        large.read((slice(0, 64), slice(start, start + 64)))
    assert sorted(calls) == sorted(set(calls))
    monkeypatch.setattr(files, "KEPT", 2 * 64 * 64 * 3)
    large.read((slice(0, 301), slice(0, 207)))
    assert large.pages.kept_bytes <= 2 * 64 * 64 * 3
    assert large.pages.kept_bytes == sum(tile.nbytes for tile in large.pages.kept.values())
    large.close()


def test_windows_of_zarr_are_its_pixels_whatever_the_order_of_axes(tmp_path):
    for name, stored in (("yxc", IMAGE), ("cyx", np.moveaxis(IMAGE, -1, 0)), ("yx", IMAGE[:, :, 0])):
        array = zarr.create_array(
            str(tmp_path / f"{name}.zarr"), shape=stored.shape, dtype="u1", chunks=(64,) * stored.ndim
        )
        array[:] = stored
        check(tmp_path / f"{name}.zarr", IMAGE[:, :, :1] if name == "yx" else IMAGE)
    group = zarr.open_group(str(tmp_path / "ome.zarr"), mode="w")
    array = group.create_array("s0", shape=(1, 3, 1, 301, 207), dtype="u1", chunks=(1, 1, 1, 64, 64))
    array[:] = np.moveaxis(IMAGE, -1, 0)[None, :, None]
    axes = [{"name": name} for name in "tczyx"]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "s0"}]}]}
    check(tmp_path / "ome.zarr", IMAGE)


def test_a_stack_in_zarr_and_a_damaged_tile_are_told(tmp_path):
    array = zarr.create_array(str(tmp_path / "stack.zarr"), shape=(7, 50, 60), dtype="u1")
    array[:] = 0
    with pytest.raises(DataError, match="one 2D image was expected"):
        open_picture(tmp_path / "stack.zarr", 2)
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="rgb", tile=(64, 64), compression="deflate")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        offset = tiff.pages[0].dataoffsets[5]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[offset : offset + 40] = b"\xff" * 40
    (tmp_path / "a.tif").write_bytes(content)
    large = open_picture(tmp_path / "a.tif", 2)
    with pytest.raises(DataError, match=r"cannot read image `.*a.tif`"):
        large.read((slice(0, 301), slice(0, 207)))
    large.close()


def test_small_files_and_those_whose_parts_cannot_be_decoded_are_read_as_a_whole(tmp_path, monkeypatch):
    for name in ("junk.tif", "a.png"):
        (tmp_path / name).write_text("junk")
        with pytest.raises(DataError, match=f"cannot read image `.*{name}`"):
            open_picture(tmp_path / name, 2)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 40, 40), np.uint8), photometric="minisblack")
    with pytest.raises(DataError, match="one 2D image was expected"):
        open_picture(tmp_path / "stack.tif", 2)
    tifffile.imwrite(tmp_path / "white.tif", np.zeros((40, 40), np.uint8), photometric="miniswhite")
    with open_picture(tmp_path / "white.tif", 2) as white:
        assert not white.is_large
        assert white.read((slice(0, 2), slice(3, 4))).tolist() == [[[255]]] * 2
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="rgb", tile=(64, 64))
    monkeypatch.setattr(files, "LARGE", 301 * 207 + 1)
    with open_picture(tmp_path / "a.tif", 2) as small:
        assert not small.is_large


@pytest.mark.parametrize("shape", [(1300, 700), (512, 512), (3, 5), (1300, 700, 3)])
def test_bands_become_a_tiled_compressed_tiff(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    with create(tmp_path / "a.tif", shape[:2], np.uint8, channels=(*shape, 0)[2]) as add:
        for start in range(0, shape[0], 97):
            add(pixels[start : start + 97])
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].is_tiled
        assert tiff.pages[0].compression != 1
        np.testing.assert_array_equal(tiff.asarray(), pixels)


def test_a_file_whose_making_failed_is_not_there(tmp_path):
    with pytest.raises(KeyError), create(tmp_path / "a.tif", (600, 600), np.uint8) as add:  # noqa: PT012
        add(np.zeros((550, 600), np.uint8))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_nothing_hangs(tmp_path, monkeypatch):
    def full(*_, **__):
        time.sleep(0.1)  # until as many bands wait as may
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segcli.files._tiles.tifffile.imwrite", full)
    with pytest.raises(DataError, match="No space left"), create(tmp_path / "a.tif", (9, 9), np.uint8) as add:  # noqa: PT012
        for _ in range(9):
            add(np.zeros((1, 9), np.uint8))
