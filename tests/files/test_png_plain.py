"""Plain PNG files whose bytes are held are opened without Pillow, with the same header, pixels and errors."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from png_parts import part

from segcli.core.errors import DataError
from segcli.data.images import read_image, read_marks
from segcli.files import png
from segcli.files._content import files_held
from segcli.files._png_plain import mode_of_plain

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (23, 31), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (23, 31, 3), dtype=np.uint8)
FIRST = 33
"""Place behind the header of a file."""


def saved(pixels, **options):
    stream = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(stream, "PNG", **options)
    return stream.getvalue()


def with_part(content, kind, data, at=FIRST):
    at = at % len(content)
    return content[:at] + part(kind, data) + content[at:]


def turned():
    about = Image.Exif()
    about[274] = 6
    return saved(GREY, exif=about)


def with_size(content, width, height):
    head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[FIRST:]


TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("note", "a text")
PLAIN = {
    "grey": saved(GREY),
    "one bit": saved(Image.new("1", GREY.shape[::-1])),
    "colours": saved(COLOURS),
    "colours and alpha": saved(np.dstack([COLOURS, GREY])),
    "resolution": saved(GREY, dpi=(72, 72)),
}
OTHERS = {
    "one bit of noise": saved(GREY > 99),
    "two bits": saved(Image.fromarray(GREY % 4).convert("P", palette=Image.Palette.ADAPTIVE, colors=4), bits=2),
    "palette": saved(Image.fromarray(COLOURS).convert("P")),
    "grey and alpha": saved(np.dstack([GREY, GREY])),
    "16 bits": saved(GREY.astype(np.uint16) * np.uint16(200)),
    "transparent colour": saved(COLOURS, transparency=(1, 2, 3)),
    "text": saved(GREY, pnginfo=TEXT),
    "turned": turned(),
    "turned at the end": with_part(
        saved(GREY), b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", -12
    ),
    "short resolution": with_part(saved(GREY), b"pHYs", b"\0\0"),
    "no pixels": with_size(saved(GREY), 0, 23),
    "more pixels than stored": with_size(saved(GREY), 60_000, 60_000),
    "too few rows": with_size(saved(GREY), 31, 24),
    "two headers": with_part(saved(GREY), b"IHDR", saved(GREY.T)[16:29]),
    "pixels in two places": saved(GREY)[:-12] + part(b"pHYs", bytes(9)) + part(b"IDAT", b"") + saved(GREY)[-12:],
    "bytes behind the end": saved(GREY) + b"more",
    "cut end": saved(GREY)[:-5],
    "cut pixels": saved(COLOURS)[:-500],
    "wrong checksum": saved(GREY)[:-1] + b"\0",
    "no pixels at all": saved(GREY)[:FIRST] + saved(GREY)[-12:],
    "signature alone": saved(GREY)[:8],
}


def found(read, path):
    """Return what is read, with the header; or the message."""
    headers = {}
    try:
        pixels = read(path, None, headers)
    except DataError as error:
        return error.message, error.hint
    marks = (pixels,) if isinstance(pixels, np.ndarray) else (pixels.values, pixels.top, pixels.loss, pixels.palette)
    return headers[path], *(each.tolist() if isinstance(each, np.ndarray) else each for each in marks)


@pytest.mark.parametrize("name", [*PLAIN, *OTHERS])
@pytest.mark.parametrize("read", [read_image, read_marks])
def test_a_held_file_has_the_header_pixels_and_errors_that_pillow_tells(name, read, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes({**PLAIN, **OTHERS}[name])
    with files_held():
        held = found(read, path)
    assert held == found(read, path)


def test_plain_files_are_opened_without_pillow_and_no_others(tmp_path, monkeypatch):
    def refused(*_):
        raise AssertionError("Pillow opens it")

    monkeypatch.setattr(png, "open_frame", refused)
    with files_held():
        for name, content in PLAIN.items():
            path = tmp_path / f"{name}.png"
            path.write_bytes(content)
            assert read_image(path).shape[:2] == GREY.shape
    assert [name for name, content in OTHERS.items() if mode_of_plain(content) is not None] == [
        "one bit of noise",  # opened without Pillow, which decodes its differences
        "too few rows",
    ]
