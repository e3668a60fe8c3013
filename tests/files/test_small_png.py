"""Small PNG files, which are read as a whole: header, pixels and messages are those of Pillow's way."""

import numpy as np
import pytest
from PIL import Image

from segcli.core.errors import DataError
from segcli.files import _content, header_of, open_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 4), dtype=np.uint8)
GREY = Image.fromarray(PIXELS[..., 0])
IMAGES = {
    "grey": GREY,
    "colours": Image.fromarray(PIXELS[..., :3]),
    "alpha": Image.fromarray(PIXELS),
    "one bit": GREY.convert("1"),
    "palette": GREY.convert("P"),
    "16 bits": Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257),
}


def told(path):
    try:
        with open_picture(path, 2) as picture:
            return header_of(picture), picture.read().tolist(), picture.read_labels().tolist()
    except DataError as error:
        return error.message, error.hint


@pytest.mark.parametrize("fault", ["none", "cut off", "wrong checksum", "a folder", "missing"])
@pytest.mark.parametrize("kind", IMAGES)
def test_a_small_png_is_what_a_large_one_is(kind, fault, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    IMAGES[kind].save(path)
    content = bytearray(path.read_bytes())
    if fault == "wrong checksum":
        content[content.index(b"IDAT") + 6] ^= 1
    path.write_bytes(content[:-20] if fault == "cut off" else content)
    if fault in ("a folder", "missing"):
        path.unlink()
    if fault == "a folder":
        path.mkdir()
    small = told(path)
    monkeypatch.setattr(_content, "SMALL", 0)
    assert small == told(path)


def test_a_small_png_is_read_without_pillow(tmp_path, monkeypatch):
    GREY.save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", None)
    assert told(tmp_path / "a.png")[1] == PIXELS[..., :1].tolist()
