"""Ranges, losses and alpha that files state and Pillow does not tell, compared with the values that were written."""

import struct

import numpy as np
import pytest
import tifffile
from imagecodecs import jpeg2k_encode
from PIL import Image, ImageOps

from segcli.core.errors import DataError
from segcli.data.field_of_view import read_field
from segcli.data.images import read_image, read_labels, read_marks
from segcli.files import open_picture, read_header

RGB = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
GREY = RGB[..., 0]
FOUR = np.dstack([RGB, GREY[::-1]])
CLASSES = GREY // 64
WINDOW = (slice(3, 20), slice(5, 33))


def pgm(path, values, largest, magic="P5"):
    """Write a PGM file with its largest number; in letters with the magic number `P2`."""
    head = f"{magic}\n{values.shape[1]} {values.shape[0]}\n{largest}\n".encode()
    body = values.astype(">u2" if largest > 255 else np.uint8).tobytes()
    path.write_bytes(head + (" ".join(map(str, values.ravel().tolist())).encode() if magic == "P2" else body))


# ---- the range of numbers


@pytest.mark.parametrize("magic", ["P5", "P2"])
@pytest.mark.parametrize(("values", "largest"), [(CLASSES, 3), (GREY, 255), (GREY * np.uint16(4), 1023)])
def test_numbers_of_pgm_masks_are_those_of_the_file_and_not_stretched(tmp_path, magic, values, largest):
    pgm(tmp_path / "a.pgm", values, largest, magic)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.pgm"), values)
    shown = read_image(tmp_path / "a.pgm")[..., 0]
    assert read_header(tmp_path / "a.pgm").itemsize == shown.dtype.itemsize
    full = np.iinfo(shown.dtype).max
    np.testing.assert_allclose(shown / full, values / largest, atol=1 / full)


@pytest.mark.parametrize("bits", [2, 4])
def test_numbers_of_jpeg_2000_masks_of_few_bits_are_not_shifted(tmp_path, bits):
    data = jpeg2k_encode(CLASSES, codecformat="jp2", bitspersample=bits, level=0)
    (tmp_path / "a.jp2").write_bytes(data)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.jp2"), CLASSES)


def test_a_grey_bitmap_of_4_bits_holds_numbers_from_0_to_15(tmp_path):
    rows = np.packbits(np.unpackbits(CLASSES[..., None], axis=-1)[..., -4:].reshape(40, -1), axis=1)[::-1]
    body = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    palette = b"".join(bytes([17 * number] * 3 + [0]) for number in range(16))
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start)
    head += struct.pack("<IiiHHIIiiII", 40, 50, 40, 1, 4, 0, len(body), 0, 0, 16, 16)
    (tmp_path / "a.bmp").write_bytes(head + palette + body)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.bmp"), CLASSES)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.bmp")[..., 0], np.asarray(Image.open(tmp_path / "a.bmp").convert("L"))
    )


def test_a_field_of_view_in_few_bits_is_cut_at_half_of_its_range(tmp_path):
    pgm(tmp_path / "fov.pgm", (GREY > 99) * np.uint8(15), 15)
    field = read_field(tmp_path / "fov.pgm").inside
    np.testing.assert_array_equal(field, GREY > 99)


# ---- alpha


@pytest.mark.parametrize(("form", "count"), [("jp2", 4), ("j2k", 4), ("jp2", 2)])
def test_channels_of_jpeg_2000_are_alpha_only_if_the_file_declares_it(tmp_path, form, count):
    bands = np.ascontiguousarray(FOUR[..., -count:])
    (tmp_path / f"a.{form}").write_bytes(jpeg2k_encode(bands, codecformat=form, level=0))
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{form}"), bands)
    assert read_header(tmp_path / f"a.{form}").channels == count
    Image.fromarray(bands).save(tmp_path / "alpha.jp2")
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.jp2"), bands[..., :-1])
    header = read_header(tmp_path / "alpha.jp2")
    assert (header.channels, header.has_alpha) == (count - 1, True)


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_colours_that_were_multiplied_by_alpha_are_those_of_pillow(tmp_path, tile):
    alpha = np.where(FOUR[..., 3:] < 30, 0, FOUR[..., 3:])
    pixels = np.dstack([(RGB.astype(int) * alpha // 255).astype(np.uint8), alpha])
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[1], tile=tile)
    expected = np.asarray(Image.open(tmp_path / "a.tif").convert("RGBA"))[..., :3]
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)
    with open_picture(tmp_path / "a.tif", 2) as picture:
        np.testing.assert_array_equal(picture.read(WINDOW), expected[WINDOW])
    deep = pixels.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "b.tif", deep, photometric="rgb", extrasamples=[1])
    seen = alpha[..., 0] > 60
    np.testing.assert_allclose(read_image(tmp_path / "b.tif")[seen] / 257, RGB[seen], atol=255 / 60)
    tifffile.imwrite(tmp_path / "c.tif", pixels / np.float32(255), photometric="rgb", extrasamples=[1])
    np.testing.assert_allclose(read_image(tmp_path / "c.tif")[seen] * 255, RGB[seen], atol=255 / 60)


def test_a_palette_with_alpha_gives_its_colours_and_not_its_indices(tmp_path):
    table = np.random.default_rng(1).integers(0, 65536, (3, 256)).astype(np.uint16)
    colours = (320, 3, 768, tuple(table.ravel().tolist()), True)
    pixels = np.dstack([GREY, GREY[::-1]])
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=[2],
        extratags=[colours],
    )
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[0].tags["PhotometricInterpretation"].overwrite(3)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), (table.T >> 8)[GREY])
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), GREY)


# ---- losses, orientation, and content of another format


def write_webp(path, **keys):
    Image.fromarray(RGB).save(path, **keys)


def write_tiff(path, kind, **keys):
    tifffile.imwrite(path, GREY, compression=kind, compressionargs=keys)


@pytest.mark.parametrize(
    ("name", "write", "loss"),
    [
        ("a.jpg", lambda path: Image.fromarray(GREY).save(path), "JPEG"),
        ("a.tif", lambda path: tifffile.imwrite(path, GREY, compression="jpeg"), "JPEG"),
        ("b.tif", lambda path: tifffile.imwrite(path, GREY, compression="lzw"), None),
        ("a.webp", lambda path: write_webp(path, quality=90), "WebP"),
        ("b.webp", lambda path: write_webp(path, lossless=True), None),
        ("a.png", lambda path: Image.fromarray(GREY).save(path), None),
        ("c.tif", lambda path: write_tiff(path, "jpeg2000", level=25), "JPEG 2000"),
        ("d.tif", lambda path: write_tiff(path, "jpeg2000", level=0), None),
        ("e.tif", lambda path: write_tiff(path, "jpegxl", level=30), "JPEG XL"),
        ("f.tif", lambda path: write_tiff(path, "jpegxl", lossless=True), None),
        ("g.tif", lambda path: write_tiff(path, "lerc", level=1.5), "LERC"),
        ("h.tif", lambda path: write_tiff(path, "lerc", level=1.5, compression="zstd"), "LERC"),
        ("i.tif", lambda path: write_tiff(path, "lerc", compression="deflate"), None),
        ("j.tif", lambda path: write_tiff(path, "jpegxr", level=0.5), "JPEG XR"),
        ("a.jp2", lambda path: Image.fromarray(GREY).save(path, irreversible=True), "JPEG 2000"),
        ("b.jp2", lambda path: Image.fromarray(GREY).save(path), None),
    ],
)
def test_a_compression_that_changes_numbers_is_known(tmp_path, name, write, loss):
    write(tmp_path / name)
    with open_picture(tmp_path / name, 2) as picture:
        assert picture.loss == loss
    if "webp" not in name:
        assert read_marks(tmp_path / name).loss == loss
        assert loss is not None or np.array_equal(read_labels(tmp_path / name), GREY)


def test_a_mask_whose_tiles_were_all_left_out_has_no_losses(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, compression="lerc", tile=(64, 64))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tiff.pages[0].tags[name].overwrite(0)
    assert not read_labels(path).any()
    assert read_marks(path).loss is None


def test_a_box_before_the_code_of_jpeg_2000_is_not_taken_for_it(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jp2", irreversible=True)
    content = (tmp_path / "a.jp2").read_bytes()
    note = b"\xff\x4f" + b"\xff\x90" * 8
    at = content.index(b"jp2c") - 4
    (tmp_path / "a.jp2").write_bytes(content[:at] + struct.pack(">I4s", 8 + len(note), b"free") + note + content[at:])
    assert read_marks(tmp_path / "a.jp2").loss == "JPEG 2000"


def test_losses_are_looked_up_for_masks_alone(tmp_path, monkeypatch):
    def refused(*_):
        raise ValueError("a second look at the file")

    for name in ("loss_of_page", "loss_of"):
        monkeypatch.setattr(f"segcli.files._colours.{name}", refused)
    write_tiff(tmp_path / "a.tif", "jpeg2000", level=0)
    Image.fromarray(GREY).save(tmp_path / "a.jp2")
    for name in ("a.tif", "a.jp2"):
        np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], GREY)
        with pytest.raises(DataError, match=rf"cannot read image `.*{name}` \(a second look at the file\)"):
            read_marks(tmp_path / name)


@pytest.mark.parametrize("number", range(1, 9))
def test_an_orientation_in_the_xmp_data_of_a_tiff_turns_like_its_tag(tmp_path, number):
    xmp = f'<rdf:Description tiff:Orientation="{number}"/>'.encode()
    tags = [(700, 1, len(xmp), xmp, True)]
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", metadata=None, extratags=tags)
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)
    assert read_header(tmp_path / "a.tif").size == expected.shape[:2]


def test_a_png_with_the_name_of_a_tiff_is_read_as_what_it_is(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.tif", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)


def test_an_image_of_floats_in_which_0_is_white_is_refused_and_a_mask_is_not(tmp_path):
    values = (GREY > 99).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    with pytest.raises(DataError, match="declares that 0 is white, and holds float32 values, of which none is black"):
        read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), values)


def test_two_channels_that_were_written_as_pages_are_told_with_the_way_to_write_them(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FOUR[..., :2])
    with pytest.raises(DataError, match="holds 40 pages of 50x2 pixels") as caught:
        read_image(tmp_path / "a.tif")
    assert "one image of 2 channels" in str(caught.value.hint)
    assert "photometric='minisblack', planarconfig='contig'" in str(caught.value.hint)
    tifffile.imwrite(tmp_path / "a.tif", FOUR[..., :2], photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), FOUR[..., :2])


# ---- colours of more than 8 bits

DEEP = np.random.default_rng(2).integers(0, 4096, (9, 8, 4), dtype=np.uint16)


def ppm(path, values, largest, magic="P6"):
    head = f"{magic}\n# of a camera\n8 9\n{largest}\n".encode()
    body = values.astype(">u2").tobytes()
    path.write_bytes(head + (" ".join(map(str, values.ravel().tolist())).encode() if magic == "P3" else body))


@pytest.mark.parametrize("magic", ["P6", "P3"])
@pytest.mark.parametrize("largest", [4095, 65535])
def test_colours_of_ppm_keep_the_bits_that_pillow_would_drop(tmp_path, magic, largest):
    values = DEEP[..., :3] * np.uint16(largest // 4095)
    ppm(tmp_path / "a.ppm", values, largest, magic)
    np.testing.assert_array_equal(read_image(tmp_path / "a.ppm"), np.rint(values * (65535 / largest)))
    with open_picture(tmp_path / "a.ppm", 2) as picture:
        np.testing.assert_array_equal(picture.read_labels(), values)
        assert (picture.itemsize, picture.channels) == (2, 3)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_channels_of_jpeg_2000_keep_the_bits_that_pillow_would_drop(tmp_path, bits, count):
    values = np.ascontiguousarray(DEEP[..., :count] << (bits - 12))
    data = jpeg2k_encode(values, codecformat="jp2", bitspersample=bits, level=0)
    (tmp_path / "a.jp2").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2"), values << (16 - bits))
    with open_picture(tmp_path / "a.jp2", 2) as picture:
        np.testing.assert_array_equal(picture.read_labels(), values)
        assert (picture.itemsize, picture.channels) == (2, count)
    (tmp_path / "cut.jp2").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cannot read image .*cut\.jp2"):
        read_image(tmp_path / "cut.jp2")
