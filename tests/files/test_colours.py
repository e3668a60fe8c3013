"""Colours, alpha, and the meaning of 0 and 1, compared with Pillow and tifffile."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from png_parts import SIGNATURE, part

from segcli.core.errors import DataError
from segcli.data.images import read_image, read_labels, read_marks, read_voxels
from segcli.files import open_picture, read_header

RGB = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
GREY = RGB[..., 0]
BITS = GREY > 128
FOUR = np.dstack([RGB, GREY])
INK = np.asarray(Image.fromarray(RGB).convert("CMYK"))
WINDOW = (slice(3, 20), slice(5, 33))


def packed(depth: int, colour_type: int, values: np.ndarray, palette: bytes = b"") -> bytes:
    """A PNG file of few bits per pixel, which Pillow cannot write."""
    bits = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., -depth:].reshape(len(values), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour_type, 0, 0, 0)
    plte = part(b"PLTE", palette) if palette else b""
    return SIGNATURE + part(b"IHDR", head) + plte + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def deep_grey_alpha() -> bytes:
    """A PNG file of grey and alpha with 16 bits each."""
    values = np.dstack([GREY, GREY[::-1]]).astype(np.uint16) * 200
    bytes_of_rows = values.astype(">u2").view(np.uint8).reshape(len(values), -1)
    wide = packed(8, 0, bytes_of_rows)
    head = b"IHDR" + struct.pack(">IIBBBBB", GREY.shape[1], GREY.shape[0], 16, 4, 0, 0, 0)
    return wide[:12] + head + struct.pack(">I", zlib.crc32(head)) + wide[33:]


def with_pillow(path, mode: str | None = None) -> np.ndarray:
    """The pixels as Pillow decodes and converts them."""
    with Image.open(path) as image:
        return np.asarray(image if mode is None else image.convert(mode))


# ---- channels


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize(
    ("pixels", "photometric", "extra", "kept"),
    [
        (FOUR, "rgb", [0], [0, 1, 2, 3]),
        (FOUR, "rgb", [2], [0, 1, 2]),
        (np.dstack([FOUR, GREY]), "rgb", [0, 2], [0, 1, 2, 3]),
        (np.dstack([FOUR, GREY]), "rgb", [0, 0], [0, 1, 2, 3, 4]),
        (FOUR[..., :2], "minisblack", [0], [0, 1]),
        (FOUR[..., :2], "minisblack", [2], [0]),
    ],
)
def test_only_samples_that_a_tiff_declares_as_alpha_are_left_out(tmp_path, pixels, photometric, extra, kept, tile):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric=photometric, extrasamples=extra, planarconfig="contig", tile=tile)
    expected = tifffile.imread(path)[..., kept]
    np.testing.assert_array_equal(read_image(path), expected)
    assert read_header(path).channels == len(kept)
    with open_picture(path, 2) as picture:
        np.testing.assert_array_equal(picture.read(WINDOW), expected[WINDOW])


@pytest.mark.parametrize("count", [2, 4])
def test_stains_of_imagej_and_separate_planes_are_all_channels(tmp_path, count):
    planes = np.moveaxis(FOUR[..., :count], -1, 0)
    tifffile.imwrite(tmp_path / "stains.tif", planes, imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="minisblack", planarconfig="separate")
    for name in ("stains.tif", "planes.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name), FOUR[..., :count])


@pytest.mark.parametrize(
    ("name", "pixels", "kept"),
    [("a.png", FOUR, 3), ("la.png", FOUR[..., 2:], 1), ("a.webp", FOUR, 3), ("a.tif", FOUR, 3)],
)
def test_alpha_that_pillow_writes_is_left_out(tmp_path, name, pixels, kept):
    Image.fromarray(pixels).save(tmp_path / name, **({"lossless": True, "exact": True} if "webp" in name else {}))
    np.testing.assert_array_equal(read_image(tmp_path / name), pixels[..., :kept])
    assert read_header(tmp_path / name).channels == kept


def test_grey_with_alpha_of_16_bits_is_one_channel(tmp_path):
    (tmp_path / "a.png").write_bytes(deep_grey_alpha())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], GREY.astype(np.uint16) * 200)
    assert read_header(tmp_path / "a.png").channels == 1


def test_volumes_leave_out_declared_alpha_and_keep_other_samples(tmp_path):
    volume = np.stack([FOUR] * 3)
    for extra, kept in ((0, 4), (2, 3)):
        tifffile.imwrite(tmp_path / "a.tif", volume, photometric="rgb", extrasamples=[extra])
        np.testing.assert_array_equal(read_voxels(tmp_path / "a.tif"), volume[..., :kept])


# ---- colour spaces

SPACES = {
    "cmyk.jpg": lambda path: Image.fromarray(RGB).convert("CMYK").save(path, quality=95),
    "cmyk_pillow.tif": lambda path: Image.fromarray(RGB).convert("CMYK").save(path),
    "cmyk.tif": lambda path: tifffile.imwrite(path, INK, photometric="separated"),
    "cmyk_tiles.tif": lambda path: tifffile.imwrite(path, INK, photometric="separated", tile=(16, 16)),
    "ycbcr.tif": lambda path: Image.fromarray(RGB).convert("YCbCr").save(path),
    "ycbcr_jpeg.tif": lambda path: Image.fromarray(RGB).save(path, compression="jpeg"),
    "palette.png": lambda path: Image.fromarray(RGB).quantize(17).save(path),
    "palette.gif": lambda path: Image.fromarray(RGB).quantize(17).save(path),
    "palette.bmp": lambda path: Image.fromarray(RGB).quantize(17).save(path),
    "palette.tif": lambda path: Image.fromarray(RGB).quantize(17).save(path),
    "grey_palette.png": lambda path: Image.fromarray(GREY).convert("P").save(path),
}


@pytest.mark.parametrize("name", SPACES)
def test_other_colour_spaces_become_the_rgb_of_pillow(tmp_path, name):
    SPACES[name](tmp_path / name)
    expected = with_pillow(tmp_path / name, "RGB")
    np.testing.assert_array_equal(read_image(tmp_path / name), expected)
    assert read_header(tmp_path / name).channels == 3
    with open_picture(tmp_path / name, 2) as picture:
        np.testing.assert_array_equal(picture.read(WINDOW), expected[WINDOW])


def test_inks_of_16_bits_keep_their_depth(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", INK.astype(np.uint16) * 257, photometric="separated")
    found = read_image(tmp_path / "a.tif")
    assert found.dtype == np.uint16
    assert np.abs(found / 257.0 - RGB).max() < 1.0


def retagged(path, tag, value):
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for number in range(len(tiff.pages)):
            tiff.pages[number].aspage().tags[tag].overwrite(value)


@pytest.mark.parametrize(
    ("space", "pixels", "text"),
    [
        ("cielab", RGB, "CIELAB"),
        ("icclab", RGB, "ICCLAB"),
        ("logluv", RGB, "LOGLUV"),
        ("cfa", GREY, "CFA"),
        ("separated", RGB, "SEPARATED of 3 inks"),
    ],
)
@pytest.mark.parametrize("ndim", [2, 3])
def test_what_cannot_be_converted_is_refused_by_name(tmp_path, space, pixels, text, ndim):
    path = tmp_path / "a.tif"
    about = {"photometric": "rgb"} if pixels.ndim == 3 else {"photometric": "minisblack"}
    tifffile.imwrite(path, pixels if ndim == 2 else np.stack([pixels] * 3), **about)
    retagged(path, "PhotometricInterpretation", tifffile.PHOTOMETRIC[space.upper()])
    with pytest.raises(DataError, match=f"a.tif` has the colour space {text}"):
        open_picture(path, ndim)


def test_ycbcr_that_is_subsampled_without_jpeg_is_refused(tmp_path):
    Image.fromarray(RGB).convert("YCbCr").save(tmp_path / "a.tif")
    retagged(tmp_path / "a.tif", "YCbCrSubSampling", (2, 2))
    with pytest.raises(DataError, match="has the colour space YCBCR with a subsampling"):
        read_header(tmp_path / "a.tif")


def test_the_colours_in_which_imagej_shows_values_are_not_the_values(tmp_path):
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256) * 257
    for software, kept in (("ImageJ=1.54f\nimages=1\n", 1), ("another", 3)):
        tifffile.imwrite(
            tmp_path / "a.tif", GREY, photometric="palette", colormap=table, description=software, metadata=None
        )
        assert read_image(tmp_path / "a.tif").shape[2] == kept
        np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), GREY)


# ---- 0 and 1


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.bmp", "a.npy"])
def test_one_bit_is_0_and_1_of_a_mask_and_black_and_white_of_an_image(tmp_path, name):
    path = tmp_path / name
    np.save(path, BITS) if name.endswith("npy") else Image.fromarray(BITS).save(path)
    assert read_marks(path).values.dtype == bool
    labels = read_labels(path)
    np.testing.assert_array_equal(labels, BITS)
    assert labels.max() == 1
    np.testing.assert_array_equal(read_image(path)[..., 0], BITS * np.uint8(255))


def test_zarr_of_one_bit_is_read_like_other_formats(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "a.zarr", data=BITS)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.zarr"), BITS)
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr")[..., 0], BITS * np.uint8(255))


def test_masks_of_bool_come_back_from_tifffile_as_they_were_written(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", BITS)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
    np.testing.assert_array_equal(read_marks(tmp_path / "a.tif").values, tifffile.imread(tmp_path / "a.tif"))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), BITS)


@pytest.mark.parametrize("compression", ["group3", "group4", "packbits", "tiff_lzw"])
def test_masks_of_one_bit_come_back_from_pillow_as_they_were_written(tmp_path, compression):
    if compression.startswith("group"):
        pytest.importorskip("imagecodecs")
    Image.fromarray(BITS).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), BITS)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_white_is_zero_is_inverted_in_images_and_not_in_masks(tmp_path, ndim, tile):
    values = GREY if ndim == 2 else np.stack([GREY] * 3)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", tile=tile)
    shown = with_pillow(tmp_path / "a.tif", "L")
    with open_picture(tmp_path / "a.tif", ndim) as picture:
        np.testing.assert_array_equal(picture.read()[..., 0], np.broadcast_to(shown, values.shape))
        window = (slice(0, 2), *WINDOW)[-ndim:]
        np.testing.assert_array_equal(picture.read(window)[..., 0], np.broadcast_to(shown, values.shape)[window])
        np.testing.assert_array_equal(picture.read_labels()[..., 0], values)
        assert picture.white_is_zero


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_scaled_in_images_and_are_numbers_in_masks(tmp_path, bits):
    values = GREY % 2**bits
    (tmp_path / "a.png").write_bytes(packed(bits, 0, values))
    tifffile.imwrite(tmp_path / "a.tif", values, bitspersample=bits, photometric="minisblack")
    expected = with_pillow(tmp_path / "a.png")
    assert expected.max() == 255
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], expected)
        np.testing.assert_array_equal(read_labels(tmp_path / name), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_of_few_bits_gives_its_indices_as_labels(tmp_path, bits):
    values = GREY % 2**bits
    palette = bytes(value for index in range(2**bits) for value in (255 - index, index, index))
    (tmp_path / "a.png").write_bytes(packed(bits, 3, values, palette))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), with_pillow(tmp_path / "a.png", "RGB"))


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp", "a.tif"])
def test_class_numbers_are_those_of_the_writer(tmp_path, name):
    Image.fromarray(GREY // 100).save(tmp_path / name)
    np.testing.assert_array_equal(read_labels(tmp_path / name), GREY // 100)
    Image.fromarray(RGB).quantize(5).save(tmp_path / name)
    np.testing.assert_array_equal(read_labels(tmp_path / name), with_pillow(tmp_path / name))
