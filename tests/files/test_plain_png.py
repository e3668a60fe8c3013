"""PNG files that OpenCV decodes: which ones, and the same numbers as Pillow's."""

import numpy as np
import pytest
from PIL import Image

from segcli.core.errors import DataError
from segcli.files import open_picture
from segcli.files._plain_png import plain_png

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 33, 4), np.uint8)
MODES = {"L": PIXELS[..., 0], "RGB": PIXELS[..., :3], "RGBA": PIXELS}


def decoded(path):
    with Image.open(path) as image:
        return plain_png(path, image)


@pytest.mark.parametrize("mode", MODES)
def test_a_whole_file_is_decoded_with_the_numbers_of_pillow(tmp_path, mode):
    path = tmp_path / "a.png"
    Image.fromarray(MODES[mode]).save(path)
    expected = np.asarray(Image.open(path)).reshape(40, 33, -1)[..., :3]
    found = decoded(path)
    assert found is not None
    assert found.flags.c_contiguous
    assert np.array_equal(found, expected)
    with open_picture(path, 2) as picture:
        assert np.array_equal(picture.read(), expected)
        assert np.array_equal(picture.read_labels(), expected)


@pytest.mark.parametrize("mode", MODES)
def test_a_damaged_file_is_left_to_pillow_and_refused(tmp_path, mode, capfd):
    path = tmp_path / "a.png"
    Image.fromarray(MODES[mode]).save(path)
    content = path.read_bytes()
    middle = len(content) // 2
    for damaged in (content[:middle], content[:-12], content[:middle] + b"\0\0\0\0" + content[middle + 4 :]):
        path.write_bytes(damaged)
        assert decoded(path) is None
    path.write_bytes(content[:middle])
    with open_picture(path, 2) as picture, pytest.raises(DataError, match=r"a\.png"):
        picture.read()
    assert capfd.readouterr().err == ""


def test_other_files_are_left_to_pillow(tmp_path):
    grey = Image.fromarray(MODES["L"])
    made = {
        "palette": (grey.convert("P"), {}),
        "bits": (grey.convert("1"), {}),
        "deep": (Image.fromarray(MODES["L"].astype(np.uint16) * 257), {}),
        "transparent": (grey, {"transparency": 7}),
        "grey with alpha": (grey.convert("LA"), {}),
    }
    for name, (image, options) in made.items():
        path = tmp_path / f"{name}.png"
        image.save(path, **options)
        assert decoded(path) is None, name
    path = tmp_path / "a.jpg"
    grey.save(path)
    assert decoded(path) is None
