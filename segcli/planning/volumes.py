"""Recognise NIfTI volumes, also in folders of nnU-Net, of the Decathlon and of single cases, and TIFF stacks."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.names import fits
from segcli.core.paths import escaped
from segcli.data.images import read_voxels
from segcli.data.split_settings import SIDES
from segcli.data.whole_numbers import whole
from segcli.files import ending_of, read_header
from segcli.files.tiff import TIFF
from segcli.planning.clock import Clock
from segcli.planning.facts import Recognised
from segcli.planning.labels import described, state_structures
from segcli.planning.lacking import leave_out
from segcli.planning.listing import NIFTI, Listing
from segcli.planning.lists import split_of_lists
from segcli.planning.numbered import MANY, Numbering, number_objects, single_parts
from segcli.planning.sides import draw, side_of_name
from segcli.planning.starred import of_folders
from segcli.planning.surveys import spread
from segcli.planning.volume_files import flat_volumes, volumes_in_folders

__all__ = ["nifti_volumes"]

SURVEY_S = 6.0
"""Processor seconds to read label maps."""
LOOKED = 3
"""Folders, and files of each, that are looked at."""
AIR = -900
"""CT stores air as about -1000; no other scanner has values that low."""
SOFT_TISSUE = [-200, 300]
"""Hounsfield units between fat and contrast agent."""
STACKS = (".tif", ".tiff")


def nifti_volumes(listing: Listing, given: Mapping[str, Any], name: str) -> Recognised | None:
    """Recognise NIfTI images with label maps; None without NIfTI files.

    Raises:
        DataError: No label maps belong to the images.
    """
    kind = "NIfTI volumes"
    places: Places = listing.volumes
    if not places:
        kind, places = "TIFF stacks", _stacks(listing)
    if not places:
        return None
    found = Recognised(listing.root, name, "", {}, "structures")
    there = volumes_in_folders(found, places, given)
    split = _split_folder(places) if there is None else None
    if split is not None:
        found.notes += [
            f"`{other}` is not used: the cases of `{split}` are divided" for other in _others(places, split)
        ]
        listing = listing.below(split)
        places = {name[len(split) + 1 :]: files for name, files in places.items() if name.startswith(f"{split}/")}
        there = volumes_in_folders(found, places, given)
    found.root = listing.root
    found.state("format", "nifti_volumes")
    found.state("paths.root", escaped(listing.root.absolute()))
    there = there or flat_volumes(found, places, given)
    files, maps = there.images, there.maps
    keys = [key for key in files if key in maps]
    endings = sorted({ending_of(path) for key in keys for path in (files[key][0], maps[key])})
    if not set(endings) <= set(NIFTI):
        found.state("extensions", endings, "files of several pages, which are the planes of a volume")
    if there.classes.files:
        there.classes.state_in(found, background=False)
        what = f"a label map for each of {len(there.classes.files)} structures"
    else:
        numbers, seen = _numbers(found, [maps[key] for key in keys])
        state_structures(found, numbers, described(listing.root), seen)
        what = f"label maps of {len(found.keys['numbers'])} structures"
    _state_image(found, [files[key] for key in keys])
    if there.sides is not None:
        _state_sides(found, there.sides, keys)
    elif not split_of_lists(found, listing, keys, by=None):
        draw(found, keys, by=None, unit="case", groups=of_folders(keys) if there.repeats else None)
    found.about = f"{len(keys)} {kind} with {what}"
    leave_out(found, [key for key in files if key not in maps], len(files), "label map")
    return found


def _state_sides(found: Recognised, sides: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    """State the splits that folders are named after; validation is drawn from training if there is none."""
    if "val" in sides:
        for side in SIDES:
            if side in sides:
                found.state(f"split.{side}", list(sides[side]), "folders named after splits")
        return
    rest = [name for name in names if not fits(name, sides.get("test", ()))]
    draw(found, rest, by=None, unit="case", val_only=True, taken=[name for name in names if name not in rest])
    found.state("split.test", list(sides["test"]), "folder named after its split")


Places = Mapping[str, list[Path]]


def _stacks(listing: Listing) -> Places:
    """Return the TIFF files if they are volumes, by a few of each folder."""
    places = listing.ending(*STACKS)
    if sum(map(len, places.values())) < sum(map(len, listing.pictures.values())):
        return {}
    with suppress(DataError):
        looked = (files[index] for files in list(places.values())[:LOOKED] for index in spread(len(files))[:LOOKED])
        return places if all(TIFF.is_stack(path) for path in looked) else {}
    return {}


def _split_folder(places: Places) -> str | None:
    """Return the folder of training if all files lie in folders of splits, each with a folder for each case."""
    heads = dict.fromkeys(name.split("/")[0] for name in places)
    sides = {head: side_of_name(head) for head in heads}
    nested = all("/" in name for name in places) and None not in sides.values()
    return next((head for head, side in sides.items() if side == "train"), None) if nested else None


def _others(places: Places, split: str) -> list[str]:
    return [head for head in dict.fromkeys(name.split("/")[0] for name in places) if head != split]


def _numbers(recognised: Recognised, maps: Sequence[Path]) -> tuple[list[int], str]:
    """Read the numbers of all label maps, or of as many as the time allows; tell if they seem to number objects."""
    clock, per_map, numbering = Clock(SURVEY_S), list[tuple[int, ...]](), Numbering()
    for index in spread(len(maps)):
        if clock.over and len(per_map) >= 3:
            break
        labels = whole(read_voxels(maps[index], labels=True)[..., 0], f"label map `{maps[index]}`")
        per_map.append(tuple(map(int, np.unique(labels))))
        if len(per_map) <= LOOKED and len(per_map[-1]) >= MANY:
            numbering.single.append(single_parts(labels))
    read = len(per_map)
    if number_objects(per_map, numbering).objects:
        recognised.notes.append(
            f"the label maps seem to number single objects, up to {max(map(len, per_map)) - 1} in one: "
            "if so, save them with 1 for every object, for else each number is a structure of its own"
        )
    every = f"all {len(maps)} label maps" if read == len(maps) else f"{read} of {len(maps)} label maps"
    return sorted({number for numbers in per_map for number in numbers}), every


def _state_image(found: Recognised, images: Sequence[Sequence[Path]]) -> None:
    """State channels, and the range of values of CT."""
    few = [images[index] for index in spread(len(images))[:20]]
    channels = {sum(read_header(path, 3).channels for path in files) for files in few}
    found.state(
        "num_channels", min(channels), None if len(channels) == 1 else "the fewest that a volume has", "certain"
    )
    lows = [float(read_voxels(files[0]).min()) for files in few[:5]]
    if max(lows) <= AIR:
        reason = "values down to air, so these are Hounsfield units of CT; soft tissue becomes 0 to 1"
        found.state("intensity_range", SOFT_TISSUE, reason, "likely")
