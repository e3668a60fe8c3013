"""Recognise several folders of images that have a folder of masks each, such as those of splits or of clips."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.images import read_image
from segcli.planning.alike import are_alike
from segcli.planning.facts import Option, Question
from segcli.planning.listing import Listing
from segcli.planning.looks import KINDS, Look, look_at, named_mask, named_objects
from segcli.planning.pairs import paired, stems
from segcli.planning.roles import Roles, Side, foreground_of
from segcli.planning.starred import Starred
from segcli.planning.twins import Twins, members_of, twins_of

__all__ = ["twin_folders"]

LOOKED = 300
"""Folders that are looked at."""


def twin_folders(listing: Listing, given: Mapping[str, Any]) -> Starred | None:
    """Find several folders of images that have a folder of masks each; None if there are none.

    Args:
        listing: Folder of the data.
        given: Keys that are known; `label_folder` chooses between several masks of the same images.
    """
    files = listing.pictures
    looks: dict[str, Look] = {}
    for name in [name for name in files if name != "."][:LOOKED]:
        with suppress(DataError):
            looks[name] = look_at(files[name])
    each = {name: stems(files[name]) for name in looks}
    masks = {name: mine for name, mine in each.items() if looks[name].is_mask}
    images = {name: mine for name, mine in each.items() if name not in masks}
    found = twins_of(images, masks)
    if found is None or _leaves_pairs(found, images, masks):
        return None
    kinds = {
        twins.masks.pattern: twins
        for kind in (found.masks, *found.other_masks)
        if (twins := found.with_masks(kind, each))
    }
    stated = given.get("image_folder", found.images.pattern), given.get("label_folder", found.masks.pattern)
    if stated[0] != found.images.pattern or stated[1] not in kinds:
        return None
    return _chosen(kinds, listing, each, given)


def _leaves_pairs(found: Twins, images: Mapping[str, list[str]], masks: Mapping[str, list[str]]) -> bool:
    """Tell whether other folders hold images and masks of their own, side by side."""
    used = {*found.images.folders.values(), *found.masks.folders.values()}
    used |= {folder for kind in found.other_masks for folder in kind.folders.values()}
    rest = ([name for name in each if name not in used] for each in (images, masks))
    return any(
        one.rpartition("/")[0] == other.rpartition("/")[0] and paired(images[one], masks[other]) is not None
        for one, other in product(*rest)
    )


def _chosen(
    kinds: Mapping[str, Twins], listing: Listing, each: Mapping[str, list[str]], given: Mapping[str, Any]
) -> Starred:
    """Choose between the masks of the same images: as stated, or plain ones first and numbered objects last."""
    files = listing.pictures
    masks = {
        pattern: _files(twins.names(twins.masks, each), twins.masks.folders, files) for pattern, twins in kinds.items()
    }
    looks = {pattern: look_at(list(mine.values())) for pattern, mine in masks.items()}
    order = sorted(
        kinds,
        key=lambda pattern: (named_objects(pattern), KINDS.index(looks[pattern].kind), not _names_masks(pattern)),
    )
    stated = given.get("label_folder")
    order.sort(key=lambda pattern: pattern != stated)
    twins = kinds[order[0]]
    named = {
        key: [name for name in names if name is not None] for key, names in twins.names(twins.images, each).items()
    }
    images = _files(twins.names(twins.images, each), twins.images.folders, files)
    sides = members_of(named)
    notes = [f"`{pattern}` is not used" for pattern in order[1:]]
    notes += [
        f"`{folder}` has no masks and is not used" for key, folder in twins.images.folders.items() if key not in named
    ]
    return Starred(
        Roles(twins.images.pattern, look_at(list(images.values())), [Side(order[0], looks[order[0]], twins.pairing)]),
        images,
        [file for name, file in masks[order[0]].items() if name in images],
        tuple(notes),
        _which(order, alike=are_alike([masks[pattern] for pattern in _rivals(order)], _foreground(looks)))
        if order[1:]
        else None,
        sides,
        repeats=twins.are_clips,
        lacking=frozenset(images.keys() - masks[order[0]].keys()),
        draws=sides is not None and "val" not in sides,
        exclude=() if sides and "val" in sides else twins.unused(files),
    )


def _names_masks(pattern: str) -> bool:
    """Tell whether the last folder of a pattern is named after masks, as `SEG` is and `TRA` is not."""
    return named_mask(pattern.rpartition("/")[2])


def _rivals(order: Sequence[str]) -> list[str]:
    """Return the folders of masks that are named as well as the first one."""
    return [pattern for pattern in order if _names_masks(pattern) == _names_masks(order[0])]


def _foreground(looks: Mapping[str, Look]) -> Callable[[Path], Array]:
    """Return a reader of foreground; of colours, all that is not black is, if every kind of masks holds colours."""
    return _painted if all(look.kind == "colours" for look in looks.values()) else foreground_of


def _painted(path: Path) -> Array:
    painted: Array = np.any(read_image(path)[..., :3], axis=-1)
    return painted


def _files(
    names: Mapping[str, Sequence[str | None]], folders: Mapping[str, str], files: Mapping[str, Sequence[Path]]
) -> dict[str, Path]:
    """Return the files by the name of their case."""
    return {
        name: file
        for key, mine in names.items()
        for name, file in zip(mine, files[folders[key]], strict=True)
        if name is not None
    }


def _which(order: Sequence[str], *, alike: bool) -> Question:
    what = "" if alike else " that show different things"
    options = tuple(Option(f"masks of `{pattern}`", (f"label_folder={pattern}",)) for pattern in order)
    text = f"Images have {len(order)} folders of masks each{what}: which are the truth?"
    return Question("label_folder", text, options, is_open=not alike)
