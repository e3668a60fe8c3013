"""Pictures are turned as EXIF or a TIFF tag says, once, and compared with what Pillow and tifffile read."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from png_parts import part

from segcli import files
from segcli.core.errors import DataError
from segcli.data.images import read_image, read_labels
from segcli.data.slices import SliceStacks
from segcli.files import open_picture, read_header

TAG = 274
RGB = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
EVERY = range(1, 9)


def exif(orientation):
    found = Image.Exif()
    found[TAG] = orientation
    return found


def tagged(orientation):
    return {"extratags": [(TAG, "H", 1, orientation, True)], "metadata": None}


WRITERS = {
    "a.jpg": lambda p, n: Image.fromarray(RGB).save(p, exif=exif(n), quality=95),
    "grey.jpg": lambda p, n: Image.fromarray(GREY).save(p, exif=exif(n), quality=95),
    "a.png": lambda p, n: Image.fromarray(RGB).save(p, exif=exif(n)),
    "a.webp": lambda p, n: Image.fromarray(RGB).save(p, exif=exif(n), lossless=True),
    "pillow.tif": lambda p, n: Image.fromarray(RGB).save(p, exif=exif(n)),
    "strips.tif": lambda p, n: tifffile.imwrite(p, RGB, photometric="rgb", rowsperstrip=5, **tagged(n)),
    "tiles.tif": lambda p, n: tifffile.imwrite(
        p, RGB, photometric="rgb", tile=(16, 16), compression="lzw", **tagged(n)
    ),
    "planar.tif": lambda p, n: tifffile.imwrite(
        p, np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate", **tagged(n)
    ),
    "tiff_of_another_name.img": lambda p, n: tifffile.imwrite(p, RGB, photometric="rgb", **tagged(n)),
}


def shown(path):
    """Pixels as a viewer shows them, by Pillow, which turns TIFF files itself."""
    with Image.open(path) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image))
    return pixels.reshape(*pixels.shape[:2], -1)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("orientation", EVERY)
def test_a_picture_is_read_as_a_viewer_shows_it(tmp_path, name, orientation):
    WRITERS[name](tmp_path / name, orientation)
    expected = shown(tmp_path / name)
    assert expected.shape[:2] == ((40, 24) if orientation > 4 else (24, 40))
    header = read_header(tmp_path / name)
    assert (header.size, header.orientation) == (expected.shape[:2], orientation)
    with open_picture(tmp_path / name, 2) as picture:
        assert picture.size == expected.shape[:2]
        np.testing.assert_array_equal(picture.read(), expected)
        for window in ((slice(0, 3), slice(5, 20)), (slice(10, 24), slice(23, 24))):
            np.testing.assert_array_equal(picture.read(window), expected[window])
    np.testing.assert_array_equal(read_image(tmp_path / name), expected)


@pytest.mark.parametrize("orientation", EVERY)
@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"rowsperstrip": 7, "compression": "deflate"}])
def test_windows_of_a_large_picture_are_turned(tmp_path, monkeypatch, orientation, options):
    monkeypatch.setattr(files, "LARGE", 1)
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", **options, **tagged(orientation))
    expected = shown(tmp_path / "a.tif")
    with open_picture(tmp_path / "a.tif", 2) as large:
        assert large.is_large
        monkeypatch.setattr(type(getattr(large, "picture", large)), "whole", None)  # so that windows are decoded alone
        for window in ((slice(0, 24), slice(0, 24)), (slice(3, 20), slice(11, 24)), (slice(23, 24), slice(0, 1))):
            np.testing.assert_array_equal(large.read(window), expected[window])


@pytest.mark.parametrize("orientation", EVERY)
def test_colours_of_16_bits_are_turned_once(tmp_path, orientation):
    deep = RGB.astype(np.uint16) * 257
    done, encoded = cv2.imencode(".png", deep[:, :, ::-1])
    assert done
    Image.fromarray(RGB).save(tmp_path / "8.png", exif=exif(orientation))
    data = encoded.tobytes()
    (tmp_path / "16.png").write_bytes(data[:33] + part(b"eXIf", exif(orientation).tobytes()[6:]) + data[33:])
    expected = shown(tmp_path / "8.png").astype(np.uint16) * 257
    np.testing.assert_array_equal(read_image(tmp_path / "16.png"), expected)


def test_exif_data_behind_the_pixels_of_a_png_count_and_other_png_headers_decode_nothing(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "plain.png")
    data = (tmp_path / "plain.png").read_bytes()
    (tmp_path / "late.png").write_bytes(data[:-12] + part(b"eXIf", exif(6).tobytes()[6:]) + data[-12:])
    np.testing.assert_array_equal(read_image(tmp_path / "late.png"), np.rot90(RGB, -1))
    np.testing.assert_array_equal(shown(tmp_path / "late.png"), np.rot90(RGB, -1))

    def decoded(image):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoded)
    assert read_header(tmp_path / "plain.png").orientation == 1


@pytest.mark.parametrize("orientation", EVERY)
def test_masks_are_turned_too_those_of_a_palette_by_their_indices(tmp_path, orientation):
    indices = (GREY % 3).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "a.png", exif=exif(orientation))
    with Image.open(tmp_path / "a.png") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("orientation", [0, 9])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "strips.tif"])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, name, orientation):
    WRITERS[name](tmp_path / name, orientation)
    assert read_header(tmp_path / name).orientation == orientation
    assert read_image(tmp_path / name).shape == RGB.shape
    np.testing.assert_array_equal(read_image(tmp_path / name), shown(tmp_path / name))


def test_damaged_exif_data_turn_nothing(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:33] + part(b"eXIf", b"nonsense") + data[33:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    assert read_header(tmp_path / "a.png").orientation == 0


@pytest.mark.parametrize("orientation", EVERY)
def test_slices_and_stacks_of_a_volume_are_turned(tmp_path, orientation):
    stack = np.stack([GREY, 255 - GREY, GREY // 2])
    (tmp_path / "slices").mkdir()
    how = {"photometric": "minisblack", "compression": "deflate", **tagged(orientation)}
    for number, plane in enumerate(stack):
        tifffile.imwrite(tmp_path / f"slices/{number}.tif", plane, **how)
    tifffile.imwrite(tmp_path / "stack.tif", stack, **how)
    expected = np.stack([shown(tmp_path / f"slices/{number}.tif")[:, :, 0] for number in range(3)])
    whole = tuple(slice(0, length) for length in expected.shape)
    for place in (tmp_path / "slices", tmp_path / "stack.tif"):
        stacks = SliceStacks(1)
        assert stacks.of(place).size == expected.shape
        np.testing.assert_array_equal(stacks.voxels(place, whole), expected)
    with open_picture(tmp_path / "stack.tif", 3) as volume:
        assert volume.size == expected.shape
        np.testing.assert_array_equal(volume.read()[..., 0], expected)
        window = (slice(1, 3), slice(2, 9), slice(20, 24))
        np.testing.assert_array_equal(volume.read(window)[..., 0], expected[window])


def test_spacing_is_exchanged_with_the_axes(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((3, 4, 5), np.uint8),
        imagej=True,
        resolution=(1 / 0.2, 1 / 0.5),
        metadata={"axes": "ZYX", "spacing": 3.0, "unit": "mm"},
        extratags=[(TAG, "H", 1, 6, True)],
    )
    header = read_header(tmp_path / "a.tif", 3)
    assert header.size == (3, 5, 4)
    assert header.spacing == pytest.approx((3.0, 0.2, 0.5))


def test_a_photograph_of_a_phone_in_heic_is_told_by_its_format(tmp_path):
    for name in ("a.heic", "renamed.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
        with pytest.raises(DataError, match=f"{name}` is a HEIC image, which segcli cannot read"):
            read_image(tmp_path / name)
