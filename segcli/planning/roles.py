"""Find which folders hold images, masks, and fields of view, by their pixels first and by their names second."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.images import read_marks
from segcli.planning.alike import SAME, overlap
from segcli.planning.looks import KINDS, Look, look_at, named_image, named_mask, named_objects
from segcli.planning.pairs import Pairing, paired, stems

__all__ = ["NoMasksError", "Roles", "Side", "foreground_of", "roles_of"]

Files = Mapping[str, Sequence[Path]]
LOOKED = 3
"""Pairs of masks that are compared."""
FIELD = (0.25, 0.9, 0.97)
"""Smallest shares of a field of view: of the picture, of its own convex shape, and of the other mask inside it."""
CLEARER = 3.0
"""A folder whose files have so many times the detail of the others holds the images."""


class NoMasksError(DataError):
    """No files are masks."""


@dataclass(frozen=True)
class Side:
    """Describes a folder of masks that belong to the images."""

    folder: str
    look: Look
    pairing: Pairing


@dataclass
class Roles:
    """Says what the folders of a place hold."""

    image: str
    look: Look
    masks: list[Side]
    """Folders of masks, the proposal first."""
    fov: Side | None = None
    """Folder of the fields of view."""
    same: bool = False
    """True if all folders of masks show the same, such as those of several observers."""
    other_images: list[str] = field(default_factory=list)
    """Folders of images with the same names that are not used."""
    files: tuple[list[Path], list[Path]] | None = None
    """Images and masks of one folder; None if those of folders and affixes are meant."""
    label_extensions: list[str] = field(default_factory=list)
    """Extensions of the masks if only they tell masks from images."""
    notes: list[str] = field(default_factory=list)
    """Sentences about files that are not used."""
    kinds: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Images in the folder of the masks by the end of their names and by case, if they are of several kinds."""
    mask_kinds: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Masks in the folder of the images by the end of their names and by case, if they are of several kinds."""
    unused: dict[str, int] = field(default_factory=dict)
    """Files in the folder of the images that are not used, by the end of their names."""


def roles_of(places: Files, *, image: str | None, mask: str | None) -> Roles:
    """Decide what each folder holds.

    Args:
        places: Files by folder; at least two folders.
        image: Folder of the images if it is known.
        mask: Folder of the masks if it is known.

    Raises:
        DataError: There are no images or no masks, none belong together, or there are two data sets.
    """
    looks = {name: look_at(files) for name, files in places.items()}
    images = [image] if image is not None and image in places else _images(looks, mask)
    candidates: dict[str, list[Side]] = {}
    for name in images:
        here = stems(places[name])
        for other, look in looks.items():
            if other in images or not (look.is_mask or other == mask):
                continue
            pairing = paired(here, stems(places[other]))
            if pairing is not None:
                candidates.setdefault(name, []).append(Side(other, look, pairing))
    if not candidates:
        raise _nothing(looks, images)
    chosen = _chosen(candidates, places)
    sides = candidates[chosen]
    reader = _Masks(places, stems(places[chosen]))
    found = _field(reader, sides)
    masks = [side for side in sides if side is not found] or sides
    masks = [side for side in masks if side.folder == mask] or masks
    same = len(masks) > 1 and all(reader.dice(masks[0], other) >= SAME for other in masks[1:])
    others = [name for name in images if name != chosen]
    return Roles(chosen, looks[chosen], _ordered(masks), found if len(sides) > 1 else None, same, others)


def _images(looks: Mapping[str, Look], mask: str | None) -> list[str]:
    """Find the folders of images; names decide where pixels do not."""
    looks = {name: look for name, look in looks.items() if name != mask}
    by_pixels = [name for name, look in looks.items() if not look.is_mask]
    plain = [name for name in by_pixels if not named_mask(_last(name))]
    if len(by_pixels) == 1 or plain:
        return plain or by_pixels
    named = [name for name in looks if named_image(_last(name))]
    if named:
        return named
    by_detail = sorted(looks, key=lambda name: -looks[name].detail)
    clear = len(by_detail) > 1 and looks[by_detail[0]].detail >= CLEARER * looks[by_detail[1]].detail
    return by_pixels or (by_detail[:1] if clear or mask is not None else [])


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _nothing(looks: Mapping[str, Look], images: Sequence[str]) -> DataError:
    masks = [name for name, look in looks.items() if look.is_mask and name not in images]
    shown = {True: "`, `".join(images[:3]), False: "`, `".join(masks[:3])}
    if not images:
        return DataError(
            f"no folder of images beside the masks in `{shown[False]}`: all files look like masks",
            hint="name it with `image_folder=FOLDER`",
        )
    if not masks:
        return NoMasksError(
            f"no masks for the images in `{shown[True]}`: every file has the many colours or values of a photograph",
            hint="a mask has a few values or colours; name its folder with `label_folder=FOLDER`",
        )
    return DataError(
        f"the images in `{shown[True]}` and the masks in `{shown[False]}` do not belong together by their names",
        hint="give an image and its mask one name, with a prefix or suffix that all masks have",
    )


def _chosen(candidates: Mapping[str, list[Side]], places: Files) -> str:
    """Choose the folder of images with most partners.

    Raises:
        DataError: Two folders of images have masks of their own.
    """
    names = sorted(candidates, key=lambda name: -max(side.pairing.count for side in candidates[name]))
    for other in names[1:]:
        near = [
            {side.folder for side in candidates[name] if _parent(side.folder) == _parent(name)}
            for name in (names[0], other)
        ]
        if near[0] and near[1] and not near[0] & near[1] and _parent(names[0]) != _parent(other):
            raise DataError(
                f"there are two data sets: images in `{names[0]}` and in `{other}`, each with masks of their own",
                hint="give both folders of images the same name, with the same capital letters"
                if _last(names[0]) != _last(other) and _last(names[0]).lower() == _last(other).lower()
                else "name the folder of one of them",
            )
    return names[0]


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _ordered(masks: list[Side]) -> list[Side]:
    """Put plain masks first: binary ones before blurred ones, before those of classes, and numbered objects last."""
    return sorted(masks, key=lambda side: (named_objects(side.folder), KINDS.index(side.look.kind)))


# ---- the field of view


def _field(reader: "_Masks", sides: Sequence[Side]) -> Side | None:
    """Find the folder whose masks are one large convex part that holds the foreground of the others."""
    binary = [side for side in sides if side.look.kind in ("binary", "soft")]
    for side in binary:
        others = [other for other in sides if other is not side]
        if others and all(reader.holds(side, other) for other in others):
            return side
    return None


@dataclass(frozen=True)
class _Masks:
    """Compares the masks of several folders, a few of each."""

    places: Files
    images: Sequence[str]
    """Stems of the images."""

    def holds(self, outer: Side, inner: Side) -> bool:
        """Tell whether the foreground of one folder is a field that holds that of the other."""
        shares = []
        for whole, part in self._pairs(outer, inner):
            if whole.shape != part.shape or not whole.any() or not part.any():
                continue
            convex = whole.mean() >= FIELD[0] and whole.sum() / _hull(whole) >= FIELD[1]
            smaller = part.sum() < 0.6 * whole.sum()
            shares.append(convex and smaller and (part & whole).sum() >= FIELD[2] * part.sum())
        return bool(shares) and all(shares)

    def dice(self, one: Side, other: Side) -> float:
        """Compute the mean Dice of the foreground of two folders; 0 where sizes differ."""
        scores = [overlap(first, second) for first, second in self._pairs(one, other)]
        return float(np.mean(scores)) if scores else 0.0

    def _pairs(self, one: Side, other: Side) -> Iterator[tuple[Array, Array]]:
        """Read the foreground of some masks of the same image."""
        first, second = (side.pairing.partners(self.images, self.places[side.folder]) for side in (one, other))
        common = [name for name in first if name in second]
        for name in common[:: max(len(common) // LOOKED, 1)][:LOOKED]:
            with suppress(DataError):  # masks of colours
                yield foreground_of(first[name]), foreground_of(second[name])


def _hull(mask: Array) -> float:
    """Return the area of the convex shape around the foreground."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    return float(cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(points), 1).sum())


def foreground_of(path: Path) -> Array:
    """Read where a mask is foreground.

    Raises:
        DataError: The mask holds colours, or cannot be read.
    """
    marks = read_marks(path)
    top = int(marks.spread.max(initial=0))
    blurred = marks.loss is not None
    foreground: Array = marks.spread > (top // 2 if blurred else 0)
    return foreground
