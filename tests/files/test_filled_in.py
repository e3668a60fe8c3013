"""Rows and colours that are missing in a file, which a library would fill in with black."""

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from png_parts import SIGNATURE, part

from segcli.core.errors import DataError
from segcli.data.images import read_image, read_labels
from segcli.files import open_picture
from segcli.files.tiff import TIFF

GREY = np.random.default_rng(5).integers(0, 4, (23, 31), dtype=np.uint8)
FEW = bytes([9, 9, 9, 200, 0, 0])
"""A palette of two colours."""
END_OF_JPEG = b"\xff\xd9"


def write_png(path, rows, bits=8, colours=0, interlaced=0, palette=b""):
    """Write a file of the size of `GREY` whose rows are these bytes."""
    head = struct.pack(">IIBBBBB", *GREY.shape[::-1], bits, colours, 0, 0, interlaced)
    parts = [(b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))]
    path.write_bytes(SIGNATURE + b"".join(part(kind, data) for kind, data in parts if data) + part(b"IEND", b""))


@pytest.mark.parametrize(("bits", "colours"), [(1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (8, 3)])
def test_a_png_whose_pixels_end_early_is_refused_and_not_filled_with_black(tmp_path, bits, colours):
    row = bytes((31 * bits * (3 if colours == 2 else 1) + 7) // 8)
    path, palette = tmp_path / "a.png", FEW * (colours == 3)
    write_png(path, [row] * 23, bits, colours, palette=palette)
    assert not read_labels(path).any()
    write_png(path, [row] * 20, bits, colours, palette=palette)
    for read in (read_image, read_labels):
        with pytest.raises(DataError, match=r"a.png` is truncated: it ends before its last row"):
            read(path)


def test_an_interlaced_png_is_whole_with_all_its_passes(tmp_path):
    passes = [(GREY[a::c, b::d]) for a, b, c, d in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]]
    passes += [GREY[2::4, 0::2], GREY[0::2, 1::2], GREY[1::2]]
    rows = [row.tobytes() for each in passes for row in each]
    write_png(tmp_path / "a.png", rows, interlaced=1)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), GREY)
    write_png(tmp_path / "a.png", rows[:-1], interlaced=1)
    with pytest.raises(DataError, match="ends before its last row"):
        read_labels(tmp_path / "a.png")


def test_a_number_without_a_colour_in_the_palette_is_refused_where_colours_count(tmp_path):
    path = tmp_path / "a.png"
    write_png(path, [row.tobytes() for row in GREY], colours=3, palette=FEW)
    with pytest.raises(DataError, match="uses number 3 of its palette, counted from 0, which has 2 colours"):
        read_image(path)
    np.testing.assert_array_equal(read_labels(path), GREY)
    write_png(path, [row.tobytes() for row in GREY % 2], colours=3, palette=FEW)
    np.testing.assert_array_equal(read_image(path), np.frombuffer(FEW, np.uint8).reshape(2, 3)[GREY % 2])


def test_inks_of_a_jpeg_are_inverted_only_where_the_file_says_that_adobe_wrote_it(tmp_path):
    colours = np.dstack([np.full_like(GREY, value) for value in (200, 120, 40)])
    ink = np.dstack([255 - colours, np.zeros_like(GREY)])
    content = imagecodecs.jpeg8_encode(ink, level=98, colorspace="cmyk", outcolorspace="cmyk")
    plain = b"".join([content[:2], *_without_adobe(content[2:])])
    (tmp_path / "plain.jpg").write_bytes(plain)
    Image.fromarray(ink, "CMYK").save(tmp_path / "adobe.jpg", quality=98)
    for name in ("plain.jpg", "adobe.jpg"):
        np.testing.assert_allclose(read_image(tmp_path / name), colours, atol=4)


def _without_adobe(content):
    """List the segments of a JPEG file, without that of Adobe."""
    while content[1] != 0xDA:
        length = 2 + struct.unpack(">H", content[2:4])[0]
        if content[1] != 0xEE:
            yield content[:length]
        content = content[length:]
    yield content


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_whose_end_is_marked_before_its_last_row_is_refused_and_not_filled_with_grey(tmp_path, mode, options):
    stream, path = io.BytesIO(), tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8)).convert(mode).save(
        stream, "JPEG", **options
    )
    content = stream.getvalue()
    path.write_bytes(content)
    read_image(path)
    half = len(content) * 3 // 4
    for rest in (b"", content[half:]):
        path.write_bytes(content[:half] + END_OF_JPEG + rest)
        assert (np.asarray(Image.open(path))[-1] == 128).all()
        with pytest.raises(DataError, match=r"a.jpg` is truncated: it ends before its last row"):
            read_image(path)


def test_a_jpeg_whose_last_row_is_not_grey_is_read_once(tmp_path, monkeypatch):
    path, read, seen = tmp_path / "a.jpg", Path.read_bytes, []
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8)).save(path)
    monkeypatch.setattr(Path, "read_bytes", lambda self: seen.append(self) or read(self))
    read_image(path)
    assert seen == [path]


def test_a_slice_of_fax_code_that_ends_early_is_refused_in_a_stack(tmp_path):
    path, rng = tmp_path / "a.tif", np.random.default_rng(3)
    slices = [Image.fromarray(rng.random((40, 50)) < 0.3) for _ in range(3)]
    slices[0].save(path, compression="group4", save_all=True, append_images=slices[1:])
    with tifffile.TiffFile(path) as file:
        counts = file.pages[2].tags["StripByteCounts"]
    content = bytearray(path.read_bytes())
    content[counts.valueoffset : counts.valueoffset + 4] = (counts.value[0] // 2).to_bytes(4, "little")
    path.write_bytes(content)
    np.testing.assert_array_equal(TIFF.plane(path, 1, labels=True), np.asarray(slices[1]))
    told = "strip 0 of its fax code ends before its last row"
    with pytest.raises(DataError, match=told):
        TIFF.plane(path, 2, labels=True)
    with open_picture(path, 3) as stack, pytest.raises(DataError, match=told):
        stack.read_labels()


def test_a_jpeg_that_ends_in_the_grey_of_missing_rows_is_whole(tmp_path):
    path = tmp_path / "a.jpg"
    pixels = np.full((90, 70, 3), 128, np.uint8)
    pixels[:20] = 9
    for options in ({}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"progressive": True}):
        Image.fromarray(pixels).save(path, **options)
        assert (read_image(path)[-1] == 128).all()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", ["tiff_ccitt", "group3", "group4"])
def test_fax_code_of_a_tiff_that_ends_early_is_refused_and_not_filled_with_zeros(tmp_path, kind, order):
    path, pixels = tmp_path / "a.tif", np.zeros((60, 80), bool)
    pixels[5:50, 8:70] = np.random.default_rng(2).random((45, 62)) < 0.3
    Image.fromarray(pixels).save(path, compression=kind, tiffinfo={266: order})
    np.testing.assert_array_equal(read_labels(path), pixels)
    with tifffile.TiffFile(path) as file:
        length = file.pages.first.databytecounts[0]
        at = file.pages.first.tags["StripByteCounts"].valueoffset
    content = bytearray(path.read_bytes())
    for left in (length // 3, length // 2, length * 3 // 4):
        content[at : at + 4] = left.to_bytes(4, "little")
        path.write_bytes(content)
        for read in (read_image, read_labels):
            with pytest.raises(
                DataError, match=r"a.tif` is truncated: strip 0 of its fax code ends before its last row"
            ):
                read(path)
