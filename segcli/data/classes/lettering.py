"""Words on pictures: legends and names."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segcli.core.types import Array
from segcli.data.classes.colors import RGB

__all__ = ["legend_below", "lettered"]

WHITE, BLACK, GREY = (255, 255, 255), (20, 20, 20), (120, 120, 120)


def legend_below(picture: Array, names: Sequence[str], colors: Sequence[RGB]) -> Array:
    """Add a white strip below the picture with the colour and the name of each class.

    Letters grow with the picture. A picture that is narrower than a name gets a white margin at its right. Without
    names the picture is returned unchanged.
    """
    if not names:
        return picture
    size = min(max(13, round(picture.shape[1] / 72)), 64)
    line, margin, side = round(1.7 * size), size // 2, size
    needed = [side + margin + math.ceil(_font(size).getlength(name)) + 2 * margin for name in names]
    width = max(picture.shape[1], max(needed) + margin)
    places, x, y = [], margin, margin
    for length in needed:
        if x > margin and x + length > width:
            x, y = margin, y + line
        places.append((x, y))
        x += length
    strip = Image.new("RGB", (width, y + line + margin), WHITE)
    draw = ImageDraw.Draw(strip)
    for (left, top), name, color in zip(places, names, colors, strict=True):
        middle = top + line // 2
        draw.rectangle((left, middle - side // 2, left + side, middle + side // 2), fill=color, outline=GREY)
        draw.text((left + side + margin, middle), name, fill=BLACK, font=_font(size), anchor="lm")
    room = ((0, 0), (0, width - picture.shape[1]), (0, 0))
    return np.concatenate([np.pad(picture, room, constant_values=255), np.asarray(strip)])


def lettered(picture: Array, words: Sequence[tuple[tuple[int, int], str, str]], size: int) -> Array:
    """Write words on a copy of a picture, white with a black outline.

    Args:
        picture: RGB picture `(H, W, 3)` uint8.
        words: Column and row, anchor as in Pillow (`lm` is left and middle), and text.
        size: Height of the letters in pixels.
    """
    made = Image.fromarray(picture)
    draw = ImageDraw.Draw(made)
    for place, anchor, text in words:
        draw.text(place, text, fill=WHITE, font=_font(size), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))
    return np.array(made)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans, which has Latin, Greek, Cyrillic, Arabic and Hebrew letters; Matplotlib brings the file."""
    import matplotlib as mpl  # noqa: PLC0415 - takes half a second to import

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
