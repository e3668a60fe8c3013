"""Colours of classes that well-known data sets use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from segcli.data.classes.colors import RGB

__all__ = ["PALETTES", "Palette", "palette_of"]


@dataclass(frozen=True)
class Palette:
    """Names the colours of a data set."""

    name: str
    colours: Mapping[RGB, str]


PALETTES = (
    Palette(
        "CamVid",
        {
            (128, 128, 128): "sky",
            (128, 0, 0): "building",
            (192, 192, 128): "pole",
            (128, 64, 128): "road",
            (128, 0, 192): "lane_marking",
            (0, 0, 192): "sidewalk",
            (128, 128, 0): "tree",
            (192, 128, 128): "sign_symbol",
            (64, 64, 128): "fence",
            (64, 0, 128): "car",
            (64, 64, 0): "pedestrian",
            (0, 128, 192): "bicyclist",
            (0, 0, 0): "void",
        },
    ),
    Palette(
        "Cityscapes",
        {
            (128, 64, 128): "road",
            (244, 35, 232): "sidewalk",
            (70, 70, 70): "building",
            (102, 102, 156): "wall",
            (190, 153, 153): "fence",
            (153, 153, 153): "pole",
            (250, 170, 30): "traffic_light",
            (220, 220, 0): "traffic_sign",
            (107, 142, 35): "vegetation",
            (152, 251, 152): "terrain",
            (70, 130, 180): "sky",
            (220, 20, 60): "person",
            (255, 0, 0): "rider",
            (0, 0, 142): "car",
            (0, 0, 70): "truck",
            (0, 60, 100): "bus",
            (0, 80, 100): "train",
            (0, 0, 230): "motorcycle",
            (119, 11, 32): "bicycle",
            (0, 0, 0): "void",
        },
    ),
    Palette(
        "PASCAL VOC",
        {
            (0, 0, 0): "background",
            (128, 0, 0): "aeroplane",
            (0, 128, 0): "bicycle",
            (128, 128, 0): "bird",
            (0, 0, 128): "boat",
            (128, 0, 128): "bottle",
            (0, 128, 128): "bus",
            (128, 128, 128): "car",
            (64, 0, 0): "cat",
            (192, 0, 0): "chair",
            (64, 128, 0): "cow",
            (192, 128, 0): "dining_table",
            (64, 0, 128): "dog",
            (192, 0, 128): "horse",
            (64, 128, 128): "motorbike",
            (192, 128, 128): "person",
            (0, 64, 0): "potted_plant",
            (128, 64, 0): "sheep",
            (0, 192, 0): "sofa",
            (128, 192, 0): "train",
            (0, 64, 128): "tv_monitor",
            (224, 224, 192): "void",
        },
    ),
)
ENOUGH = 4
"""Fewer colours besides black may be equal by chance."""


def palette_of(colours: Iterable[RGB]) -> Palette | None:
    """Find the data set whose colours these are; None if none or several hold all of them."""
    found = set(colours)
    fitting = [palette for palette in PALETTES if found <= palette.colours.keys()]
    return fitting[0] if len(fitting) == 1 and len(found - {(0, 0, 0)}) >= ENOUGH else None
