"""What tests of sequences share."""

from pathlib import Path

import cv2
import pytest
from factories import STREET
from PIL import Image

from segcli.core.errors import DataError

CSV = "id,name,r,g,b\n" + "".join(
    f"{number},{name},{r},{g},{b}\n" for number, (name, (r, g, b)) in enumerate(STREET.items())
)


def told(call, *arguments, kind=DataError):
    with pytest.raises(kind) as caught:
        call(*arguments)
    return str(caught.value)


def first(made):
    return made.cases("train")[0]


def paint(path, spot, color):
    """Paint a part of a mask; returns how many pixels that are."""
    mask = cv2.imread(str(path))
    mask[spot] = color[::-1]
    cv2.imwrite(str(path), mask)
    return mask[spot][..., 0].size


MASK = "data/Labels/Video_000/0001.png"


def save_blurred(how):
    """Replace a mask by what JPEG makes of it."""
    with Image.open(MASK) as picture:
        mask = picture.convert("RGB")
    if how == "jpg":
        mask.save(MASK.replace(".png", ".jpg"), quality=90)
        Path(MASK).unlink()
    else:  # once a JPEG, and a PNG again
        mask.save("once.jpg", quality=60, subsampling=2)
        with Image.open("once.jpg") as blurred:
            blurred.save(MASK)
