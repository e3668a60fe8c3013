"""Every kind of file that microscopes, cameras and scripts leave behind."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segcli.core.errors import DataError
from segcli.data.images import as_rgb, natural_key, read_image, read_labels
from segcli.files import read_header
from segcli.files.png import PNG

GREY = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (9, 7), dtype=np.uint16)
DEEP_RGB = np.random.default_rng(3).integers(0, 65536, (9, 7, 3), dtype=np.uint16)
ALPHA = np.full((9, 7, 1), 200, np.uint8)

IMAGES = {
    "grey.png": (lambda p: Image.fromarray(GREY).save(p), GREY),
    "rgb.png": (lambda p: Image.fromarray(RGB).save(p), RGB),
    "rgba.png": (lambda p: Image.fromarray(np.concatenate([RGB, ALPHA], 2)).save(p), RGB),
    "grey_alpha.png": (lambda p: Image.fromarray(np.dstack([GREY, ALPHA])).save(p), GREY),
    "deep.png": (lambda p: Image.fromarray(DEEP).save(p), DEEP),
    "deep_rgb.png": (lambda p: cv2.imwrite(str(p), DEEP_RGB[:, :, ::-1]), DEEP_RGB),
    "bit.png": (lambda p: Image.fromarray(GREY > 127).save(p), (GREY > 127).astype(np.uint8) * 255),
    "rgb.bmp": (lambda p: Image.fromarray(RGB).save(p), RGB),
    "grey.tif": (lambda p: tifffile.imwrite(p, GREY, compression="lzw"), GREY),
    "rgb.tif": (lambda p: tifffile.imwrite(p, RGB, photometric="rgb", compression="lzw"), RGB),
    "planar.tif": (
        lambda p: tifffile.imwrite(p, np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate"),
        RGB,
    ),
    "deep.tiff": (lambda p: tifffile.imwrite(p, DEEP, compression="zlib"), DEEP),
    "float.tif": (lambda p: tifffile.imwrite(p, GREY / np.float32(255)), GREY / np.float32(255)),
    "grey_palette.gif": (lambda p: Image.fromarray(GREY).save(p), GREY),
}


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_arrive_as_stored(tmp_path, name):
    save, expected = IMAGES[name]
    save(tmp_path / name)
    found = read_image(tmp_path / name)
    np.testing.assert_array_equal(found, expected if expected.ndim == 3 else expected[:, :, None])
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("name", IMAGES)
def test_the_header_agrees_with_the_pixels(tmp_path, name):
    IMAGES[name][0](tmp_path / name)
    header, found = read_header(tmp_path / name), read_image(tmp_path / name)
    assert (*header.size, header.channels) == found.shape
    assert header.itemsize == found.itemsize


def test_jpeg_and_cmyk_become_rgb(tmp_path):
    Image.fromarray(RGB).resize((64, 64)).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(RGB).resize((64, 64)).convert("CMYK").save(tmp_path / "b.jpg", quality=95)
    assert read_image(tmp_path / "a.jpg").shape == read_image(tmp_path / "b.jpg").shape == (64, 64, 3)
    assert read_header(tmp_path / "b.jpg").channels == 3


def palette_image(indices, colours):
    image = Image.fromarray(indices)
    image.putpalette([value for colour in colours for value in colour])
    return image


INDICES = np.array([[0, 1], [2, 1]], np.uint8)


def test_a_palette_of_greys_gives_its_greys_even_where_index_0_is_white(tmp_path):
    palette_image(np.array([[0, 1], [1, 1]], np.uint8), [(255, 255, 255), (0, 0, 0)]).save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.gif"), [[255, 0], [0, 0]])


def test_a_palette_of_colours_gives_indices_as_labels_and_colours_as_image(tmp_path):
    palette_image(INDICES, [(0, 0, 0), (128, 0, 0), (0, 128, 0)]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), INDICES)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[1, 0], [0, 128, 0])


def test_a_label_with_three_equal_channels_is_one_and_with_colours_is_refused(tmp_path):
    Image.fromarray(np.repeat(GREY[:, :, None], 3, 2)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "grey.png"), GREY)
    Image.fromarray(RGB).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"colour.png` is a colour image, but a mask has one value per pixel"):
        read_labels(tmp_path / "colour.png")


def damaged(folder, name):
    path = folder / name
    large = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    match name:
        case "empty.png":
            path.write_bytes(b"")
        case "text.png":
            path.write_text("not an image")
        case "stack.tif":
            tifffile.imwrite(path, np.zeros((5, 8, 8), np.uint8))
        case "cut.tif":
            tifffile.imwrite(path, large, photometric="rgb", compression="lzw")
            path.write_bytes(path.read_bytes()[:40000])
        case "cut.png" | "cut.jpg":
            Image.fromarray(large).save(path)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize("name", ["empty.png", "text.png", "cut.png", "cut.jpg", "cut.tif", "stack.tif", "missing.png"])
def test_a_damaged_file_is_told_by_name_and_never_filled_with_grey(tmp_path, name):
    with pytest.raises(DataError, match=name):
        read_image(damaged(tmp_path, name))


def test_an_image_that_is_almost_black_is_brightened_for_people_and_keeps_its_hue():
    ramp = np.arange(40, dtype=np.uint8).repeat(10).reshape(20, 20, 1)
    dark = np.concatenate([ramp, ramp // 2, ramp // 4], axis=2)
    shown = as_rgb(dark)
    assert shown.max() == 255
    assert np.abs(shown - dark * (255 / 39)).max() < 1
    assert np.abs(as_rgb(dark // 8) - (dark // 8) * 8.0).max() == 0  # noise does not become a picture
    dark[:2, :2] = 64
    np.testing.assert_array_equal(as_rgb(dark), dark)


def test_files_sort_as_people_count():
    names = ["b1.png", "a10.png", "a2.png", "a02b.png"]
    from pathlib import Path

    assert [path.name for path in sorted(map(Path, names), key=natural_key)] == [
        "a2.png",
        "a02b.png",
        "a10.png",
        "b1.png",
    ]


@pytest.mark.parametrize("pixels", [GREY, RGB, DEEP])
def test_written_pixels_are_read_back(tmp_path, pixels):
    PNG.write(tmp_path / "deep/er/a.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "deep/er/a.png"), pixels.reshape(9, 7, -1))
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["a.png"]
