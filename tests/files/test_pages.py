"""A 2D image with several pages or frames is refused with their number, or the stated one is read."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from segcli import files
from segcli.core.errors import DataError
from segcli.data.images import read_image, read_labels
from segcli.files import open_picture, read_header

FRAMES = [np.random.default_rng(seed).integers(0, 256, (24, 40, 3), dtype=np.uint8) for seed in range(3)]
GREYS = [frame[:, :, 0] for frame in FRAMES]


def animated(path, frames=FRAMES, **options):
    first, *others = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=others, **options)


def appended(path, frames=FRAMES):
    for frame in frames:
        tifffile.imwrite(path, frame, append=True, photometric="rgb")


def different(path):
    """Pages of different sizes, which tifffile takes for series of their own."""
    with tifffile.TiffWriter(path) as writer:
        for number, frame in enumerate(FRAMES):
            writer.write(frame[: 24 - 5 * number], photometric="rgb", metadata=None)


WRITERS = {
    "a.gif": animated,
    "a.png": animated,
    "a.webp": lambda path: animated(path, lossless=True),
    "pillow.tif": animated,
    "lzw.tif": lambda path: animated(path, compression="tiff_lzw"),
    "appended.tif": appended,
    "different.tif": different,
    "stack.tif": lambda path: tifffile.imwrite(path, np.stack(FRAMES), photometric="rgb"),
    "imagej.tif": lambda path: tifffile.imwrite(path, np.stack(FRAMES), imagej=True, metadata={"axes": "ZYXS"}),
    "one_header.tif": lambda path: tifffile.imwrite(path, np.stack(FRAMES), photometric="rgb", truncate=True),
    "channels_first.ome.tif": lambda path: tifffile.imwrite(
        path, np.moveaxis(np.stack(FRAMES), -1, 0), metadata={"axes": "CZYX"}, photometric="minisblack"
    ),
}


def page_of(path, number):
    """Pixels of a page by an independent reader; Pillow counts every directory of a TIFF file."""
    if path.name in ("one_header.tif", "channels_first.ome.tif"):
        return FRAMES[number]
    with Image.open(path) as image:
        image.seek(number)
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_several_pages_is_refused_with_their_number_and_the_way_out(tmp_path, name):
    WRITERS[name](tmp_path / name)
    word = "pages" if name.endswith(".tif") else "frames"
    for read in (read_image, read_labels, read_header):
        with pytest.raises(DataError, match=rf"{name}` holds 3 {word}, but one 2D image was expected") as caught:
            read(tmp_path / name)
        assert "`page: 0` to `page: 2`" in caught.value.hint


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("page", [0, 1, 2])
def test_the_stated_page_is_read_counted_from_0(tmp_path, name, page):
    WRITERS[name](tmp_path / name)
    expected = page_of(tmp_path / name, page)
    np.testing.assert_array_equal(read_image(tmp_path / name, page), expected)
    header = read_header(tmp_path / name, 2, page)
    assert (header.size, header.channels, header.page_count) == (expected.shape[:2], 3, 3)


@pytest.mark.parametrize("name", WRITERS)
def test_a_page_that_does_not_exist_is_told_with_the_last_one(tmp_path, name):
    WRITERS[name](tmp_path / name)
    with pytest.raises(DataError, match="counted from 0, but not `page: 3`") as caught:
        read_image(tmp_path / name, 3)
    assert caught.value.hint == "the last one is `page: 2`"


def test_a_page_of_a_large_file_is_read_in_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGE", 1)
    for name, options in (("tiles.tif", {"tile": (16, 16), "compression": "deflate"}), ("strips.tif", {})):
        tifffile.imwrite(tmp_path / name, np.stack(FRAMES), photometric="rgb", rowsperstrip=7, **options)
        with open_picture(tmp_path / name, 2, 2) as large:
            assert large.is_large
            window = (slice(5, 20), slice(30, 40))
            np.testing.assert_array_equal(large.read(window), FRAMES[2][window])
        with pytest.raises(DataError, match="holds 3 pages"):
            open_picture(tmp_path / name, 2)


def test_each_page_is_turned_as_it_states_itself(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for orientation in (1, 6):
            tag = [(274, "H", 1, orientation, True)]
            writer.write(FRAMES[0], photometric="rgb", metadata=None, extratags=tag)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 0), FRAMES[0])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 1), np.rot90(FRAMES[0], -1))
    assert read_header(tmp_path / "a.tif", 2, 1).size == (40, 24)


def test_later_frames_of_a_grey_gif_stay_grey_and_those_of_a_mask_keep_its_numbers(tmp_path):
    animated(tmp_path / "grey.gif", GREYS)
    for page in range(3):
        np.testing.assert_array_equal(read_image(tmp_path / "grey.gif", page), GREYS[page][:, :, None])
    masks = [GREYS[0] % 3, GREYS[1] % 3]
    parts = []
    for mask in masks:
        image = Image.fromarray(mask)
        image.putpalette([10, 10, 10, 128, 0, 0, 0, 128, 0])
        image.save(tmp_path / "single.gif", optimize=False)
        parts.append((tmp_path / "single.gif").read_bytes())
    head = 13 + 3 * 2 ** ((parts[0][10] & 7) + 1)  # with the common palette
    assert parts[0][:head] == parts[1][:head]
    (tmp_path / "mask.gif").write_bytes(parts[0][:-1] + parts[1][head:])
    for page in range(2):
        np.testing.assert_array_equal(read_labels(tmp_path / "mask.gif", page), masks[page])


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("page", [None, 0, 4])
def test_an_animated_file_of_a_single_frame_is_an_image_whatever_page_is_stated(tmp_path, name, page):
    animated(tmp_path / name, FRAMES[:1], **({"lossless": True} if name == "a.webp" else {}))
    with Image.open(tmp_path / name) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / name, page), expected)


@pytest.mark.parametrize("page", [None, 1])
def test_of_a_photograph_with_a_second_picture_the_first_is_read(tmp_path, page):
    animated(tmp_path / "a.jpg", format="MPO", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 3)
        np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", page), np.asarray(image))


def pages(path, *parts):
    with tifffile.TiffWriter(path) as writer:
        for pixels, kind in parts:
            photometric = "rgb" if pixels.ndim == 3 else "minisblack"
            writer.write(pixels, photometric=photometric, subfiletype=kind, metadata=None)


@pytest.mark.parametrize("order", [1, -1])
def test_a_thumbnail_and_a_mask_of_transparency_are_no_pages(tmp_path, order):
    thumbnail, clear = (FRAMES[0][::3, ::5], 1), (GREYS[0] > 9, 4)
    pages(tmp_path / "a.tif", *((FRAMES[0], 0), thumbnail, clear)[::order])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), FRAMES[0])


def test_levels_of_a_pyramid_are_no_pages(tmp_path):
    pages(tmp_path / "a.tif", (FRAMES[0], 0), (FRAMES[0][::2, ::2], 1), (FRAMES[0][::4, ::4], 1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), FRAMES[0])


@pytest.mark.parametrize("name", ["a.ico", "a.icns"])
def test_an_icon_of_several_sizes_is_refused(tmp_path, name):
    icon = np.zeros((64, 64, 3), np.uint8)
    Image.fromarray(icon).save(tmp_path / name, **({"sizes": [(16, 16), (32, 32)]} if name == "a.ico" else {}))
    with pytest.raises(DataError, match=rf"{name}` holds \d sizes of an icon, but one 2D image was expected"):
        read_image(tmp_path / name)


def test_a_later_frame_of_16_bits_is_not_reduced_to_8(tmp_path):
    animated(tmp_path / "a.png", [np.uint16(257) * grey for grey in GREYS])
    with pytest.raises(DataError, match="is an animation of 16 bits, so `page: 1` cannot be read"):
        read_image(tmp_path / "a.png", 1)
