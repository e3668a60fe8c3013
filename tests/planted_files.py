"""Faults that lie in what files state about their pixels: palettes and orientations."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from planted import PICTURES, Set, cells, fault

RED, GREEN, WHITE, BLACK = (200, 30, 30), (30, 200, 30), (255, 255, 255), (0, 0, 0)


def _with_palette(made: Set, index: int, numbers: np.ndarray, colors: Sequence[tuple[int, int, int]]) -> None:
    """Write a training mask as numbers of a palette."""
    picture = Image.fromarray(numbers.astype(np.uint8)).convert("P")
    picture.putdata(numbers.ravel().tolist())
    picture.putpalette([value for color in colors for value in color])
    picture.save(made.places["train"][index][1])


def _by_numbers(made: Set) -> None:
    """Let the masks of sequences hold the numbers of their classes, as those of folders do."""
    if "classes" in made.keys:
        made.keys |= {"mask_format": "index", "numbers": [0, 255]}


@fault("palette", PICTURES)
def an_image_has_a_palette(made: Set) -> None:
    made.keys |= {"num_channels": 3, "color": "rgb"}
    path, image = made.places["train"][3][0], made.read("train", 3)[0]
    Image.fromarray(image).convert("RGB").quantize(200).save(path)


@fault("palette_differs", PICTURES)
def palettes_number_their_colours_anew_in_each_file(made: Set) -> None:
    made.keys |= {"classes": ["background", "cell", "dead"], "numbers": [0, 255, 100], "mask_format": "index"}
    made.keys.pop("num_classes", None)
    for split, members in made.places.items():
        for index in range(len(members)):
            mask = made.read(split, index)[1]
            mask[:3, :3] = 100  # each class occurs in each split
            made.write(split, index, mask=mask)
    colors = [BLACK] * 256
    for index, one, other in ((2, RED, GREEN), (3, GREEN, RED)):
        colors[255], colors[100] = one, other
        _with_palette(made, index, made.read("train", index)[1], colors)


@fault("palette_differs", PICTURES)
def a_palette_shows_the_background_in_white(made: Set) -> None:
    if "classes" in made.keys:
        made.keys |= {
            "mask_format": "index",
            "numbers": [0, 255],
            "classes": [{"name": "background", "color": BLACK}, {"name": "cell", "color": WHITE}],
        }
    greys = [(255 - value,) * 3 for value in range(256)]
    _with_palette(made, 3, made.read("train", 3)[1], greys)


@fault("palette_differs", "sequences")
def a_palette_has_the_colour_of_another_class(made: Set) -> None:
    _by_numbers(made)
    _with_palette(made, 3, made.read("train", 3)[1], [*[WHITE] * 255, RED])


def _turned(made: Set, kind: int, orientation: int, size: tuple[int, int]) -> None:
    """Replace a case by one of which only the image (0) or the mask (1) states an orientation; upright, both fit."""
    for upright, path in zip(cells(3, size), made.places["train"][3], strict=True):
        exif, pixels = Image.Exif(), upright
        if path == made.places["train"][3][kind]:
            exif[274] = orientation
            pixels = {2: upright[:, ::-1], 3: upright[::-1, ::-1], 6: np.rot90(upright)}[orientation]
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif)


@fault("turned", PICTURES)
def only_the_image_states_that_it_is_upside_down(made: Set) -> None:
    _turned(made, 0, 3, (96, 80))


@fault("turned", PICTURES)
def only_the_mask_states_that_it_is_mirrored(made: Set) -> None:
    _turned(made, 1, 2, (96, 80))


@fault("turned", PICTURES)
def only_a_square_image_states_a_quarter_turn(made: Set) -> None:
    _turned(made, 0, 6, (96, 96))
