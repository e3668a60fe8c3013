"""Faster decoders give the pixels of Pillow, and refuse what Pillow refuses."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from segcli.core.errors import DataError
from segcli.data.images import read_image, read_labels
from segcli.files import _codecs, png
from segcli.files._png_rows import unpacked_png

NOISE = np.random.default_rng(5).integers(0, 256, (61, 83, 3), dtype=np.uint8)
NOISE[:30, :40] //= 64
ALL_BUT_ONE = np.repeat(NOISE[..., :1], 3, axis=2)
ALL_BUT_ONE[57, 3, 2] ^= 1
MASK = np.zeros((61, 83), np.uint8)
MASK[10:33, 20:70] = 255
FILTERS = ("NO", "NONE", "SUB", "UP", "AVG", "PAETH", "FAST", "ALL")


def as_pillow(content):
    """What Pillow decodes; None if it refuses."""
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception:
        return None
    return np.asarray(image.convert("RGB") if image.mode == "RGBA" else image)


def by_pillow(pixels, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def gamma():
    about = PngImagePlugin.PngInfo()
    about.add(b"gAMA", (45455).to_bytes(4, "big"))
    return about


def of_one_bit(name):
    """Make a file of one bit per pixel: the bytes of a grey one, with a header that says so."""
    content = imagecodecs.png_encode(np.packbits(MASK > 0, axis=1), filter=imagecodecs.PNG.FILTER[name])
    head = b"IHDR" + struct.pack(">II", *MASK.shape[::-1]) + bytes([1, 0, 0, 0, 0])
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


FILES = {
    **{f"one bit with filter {name.lower()}": of_one_bit(name) for name in FILTERS},
    **{
        f"grey with filter {name.lower()}": imagecodecs.png_encode(MASK, filter=imagecodecs.PNG.FILTER[name])
        for name in FILTERS
    },
    "grey noise": by_pillow(NOISE[..., 0], "PNG"),
    **{
        f"equal colours with filter {name.lower()}": imagecodecs.png_encode(
            np.repeat(NOISE[..., :1], 3, axis=2), filter=imagecodecs.PNG.FILTER[name]
        )
        for name in FILTERS
    },
    "equal colours and alpha": by_pillow(np.dstack([NOISE[..., 0]] * 3 + [NOISE[..., 1]]), "PNG"),
    "equal colours but one": by_pillow(ALL_BUT_ONE, "PNG"),
    "colours": by_pillow(NOISE, "PNG"),
    "colours and alpha": by_pillow(np.dstack([NOISE, NOISE[::-1, :, 0]]), "PNG"),
    "gamma": by_pillow(NOISE, "PNG", pnginfo=gamma()),
    "transparent colour": by_pillow(NOISE, "PNG", transparency=(0, 0, 0)),
    "grey JPEG": by_pillow(NOISE[..., 0], "JPEG"),
    **{f"JPEG {number}": by_pillow(NOISE, "JPEG", subsampling=number, progressive=number == 1) for number in range(3)},
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_pillow(name, tmp_path):
    path = tmp_path / ("a.jpg" if "JPEG" in name else "a.png")
    path.write_bytes(FILES[name])
    expected = as_pillow(FILES[name])
    top = np.uint8(255 if expected.dtype == bool else 1)
    assert np.array_equal(read_image(path), expected.reshape(*expected.shape[:2], -1) * top)
    if expected.ndim == 2:
        assert np.array_equal(read_labels(path), expected)


@pytest.mark.parametrize(
    "name",
    [
        *("grey noise", "grey with filter sub", "grey with filter up", "one bit with filter avg"),
        *("colours", "colours and alpha", "equal colours and alpha", "JPEG 2"),
    ],
)
def test_damaged_files_are_refused_as_by_pillow(name, tmp_path):
    content, rng = FILES[name], np.random.default_rng(7)
    path = tmp_path / ("a.jpg" if "JPEG" in name else "a.png")
    for number in range(40):
        place = int(rng.integers(20, len(content)))
        damaged = bytearray(content)
        if number % 3 == 0:
            damaged[place] ^= int(rng.integers(1, 256))
        elif number % 3 == 1:
            damaged = damaged[:place]
        else:
            damaged[place:] = bytes(len(damaged) - place)
        path.write_bytes(bytes(damaged))
        expected = as_pillow(bytes(damaged))
        try:
            found = read_image(path)
        except DataError:
            assert expected is None
        else:
            top = np.uint8(255 if expected.dtype == bool else 1)
            assert np.array_equal(found, expected.reshape(*expected.shape[:2], -1) * top)


def test_most_masks_and_photographs_do_not_go_through_pillow(tmp_path, monkeypatch):
    def refused(_):
        raise AssertionError("Pillow decodes")

    monkeypatch.setattr(png.PillowColours, "pixels", refused)
    for name in ("grey with filter sub", "one bit with filter avg", "colours", "colours and alpha", "JPEG 0"):
        path = tmp_path / ("a.jpg" if "JPEG" in name else "a.png")
        path.write_bytes(FILES[name])
        assert read_image(path).shape[:2] == MASK.shape
    assert unpacked_png(FILES["grey with filter up"]).grey() is not None
    assert unpacked_png(FILES["grey with filter paeth"]).grey() is None
    assert unpacked_png(FILES["equal colours and alpha"]).of_equal_colours() is not None


def test_a_file_that_is_unpacked_in_parts_keeps_its_pixels():
    pixels = np.random.default_rng(8).integers(0, 9, (200, 331, 3), dtype=np.uint8)  # three parts
    copied = unpacked_png(by_pillow(pixels, "PNG")).as_file()
    assert len(copied) > pixels.size
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(copied))), pixels)


def test_pillow_decodes_jpeg_where_the_other_library_gives_other_bits(tmp_path, monkeypatch):
    _codecs._jpeg_is_that_of_pillow.cache_clear()
    other = _codecs.imagecodecs.jpeg8_decode
    monkeypatch.setattr(_codecs.imagecodecs, "jpeg8_decode", lambda content: other(content) ^ 1)
    path = tmp_path / "a.jpg"
    path.write_bytes(FILES["JPEG 0"])
    try:
        assert np.array_equal(read_image(path), as_pillow(FILES["JPEG 0"]))
    finally:
        _codecs._jpeg_is_that_of_pillow.cache_clear()
