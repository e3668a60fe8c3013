"""Recognise volumes in HDF5 and NIfTI files, also in the folders of nnU-Net and of the Decathlon."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.names import composed
from segcli.core.paths import escaped
from segcli.core.types import Array
from segcli.data.images import read_voxels
from segcli.data.whole_numbers import whole
from segcli.files import ending_of, read_header
from segcli.planning.clock import Clock
from segcli.planning.facts import Option, Question, Recognised
from segcli.planning.labels import described, state_structures
from segcli.planning.listing import Listing
from segcli.planning.looks import named_image, named_mask
from segcli.planning.pairs import Pairing, beside, paired
from segcli.planning.sides import draw, split_of_lists
from segcli.planning.surveys import spread

__all__ = ["nifti_volumes"]

SURVEY_S = 6.0
"""Processor seconds to read label maps."""
FLAT = 0.8
"""Smallest share of equal neighbours of a label map."""
MOST = 256
"""More different numbers are no labels."""
AIR = -900
"""CT stores air as about -1000; no other scanner has values that low."""
SOFT_TISSUE = [-200, 300]
"""Hounsfield units between fat and contrast agent."""
CHANNEL = re.compile(r"_\d{4}")
"""End of the name of a file of one channel, in the folders of nnU-Net."""


def nifti_volumes(listing: Listing, given: Mapping[str, Any], name: str) -> Recognised | None:
    """Recognise NIfTI images with label maps; None without NIfTI files.

    Raises:
        DataError: No label maps belong to the images.
    """
    places = listing.volumes
    if not places:
        return None
    images, masks, pairing = _pair(places, given, listing.root)
    found = Recognised(listing.root, name, "", {}, "structures")
    found.state("format", "nifti_volumes")
    found.state("paths.root", escaped(listing.root.absolute()))
    found.state("image_folder", images, "voxels have many values")
    found.state("label_folder", masks, "voxels have a few whole numbers")
    for word, affix in (("image", pairing.image), ("label", pairing.mask)):
        for kind, text in affix.parts.items():
            found.state(f"{word}_{kind}", text)
    files = {key: file for file in places[images] if (key := pairing.image.key(_stem(file)))}
    maps = {key: file for file in places[masks] if (key := pairing.mask.key(_stem(file)))}
    keys = [key for key in files if key in maps]
    _other_channels(found, places[images], pairing, keys)
    numbers, seen = _numbers([maps[key] for key in keys])
    state_structures(found, numbers, described(listing.root), seen)
    _state_image(found, [files[key] for key in keys])
    if not split_of_lists(found, listing, keys, by=None):
        draw(found, keys, by=None, unit="case")
    found.about = f"{len(keys)} NIfTI volumes with label maps of {len(found.keys['numbers'])} structures"
    if len(keys) < len(files):
        found.notes.append(
            f"{len(files) - len(keys)} of {len(files)} images have no label map: `data check` names them"
        )
    return found


def _stem(file: Path) -> str:
    return composed(file.name[: -len(ending_of(file))])


# ---- images and label maps


def _pair(places: Mapping[str, list[Path]], given: Mapping[str, Any], root: Path) -> tuple[str, str, Pairing]:
    """Find the folders of images and label maps, which may be one folder, and how their names belong together."""
    kinds = {name: _is_labels(files) for name, files in places.items()}
    images = [given["image_folder"]] if given.get("image_folder") in places else [n for n in places if not kinds[n]]
    masks = [given["label_folder"]] if given.get("label_folder") in places else [n for n in places if kinds[n]]
    found = []
    for one in images or [name for name in places if named_image(name)]:
        for other in masks or [name for name in places if named_mask(name)]:
            pairing = None if one == other else paired(list(map(_stem, places[one])), list(map(_stem, places[other])))
            if pairing is not None:
                found.append((one, other, pairing))
    if found:
        return max(found, key=lambda each: each[2].count)
    if len(places) == 1:
        ((name, files),) = places.items()
        same = beside(list(map(_stem, files)))
        if same is not None:
            return name, name, _turned(same, files)
    raise DataError(
        f"no label maps for the NIfTI images of `{shown(root)}`: none have the names of images",
        hint="put images and label maps into two folders, with one name for each case; a folder a case is not read",
    )


def _is_labels(files: Sequence[Path]) -> bool:
    """Tell whether files are label maps, by up to three of them; in a mixed folder they are not."""
    return all(_holds_labels(read_voxels(files[index])) for index in spread(len(files))[:3])


def _turned(pairing: Pairing, files: Sequence[Path]) -> Pairing:
    """Put the images first."""
    first = next(file for file in files if pairing.image.key(_stem(file)) and not pairing.mask.key(_stem(file)))
    is_turned = _holds_labels(read_voxels(first))
    return Pairing(pairing.mask, pairing.image, pairing.count) if is_turned else pairing


def _holds_labels(voxels: Array) -> bool:
    """Tell whether voxels hold a few whole numbers in flat regions."""
    values = voxels[..., 0]
    if not np.isfinite(values).all() or values.min() < 0 or (values != np.rint(values)).any():
        return False
    return len(np.unique(values)) <= MOST and float((values[1:] == values[:-1]).mean()) >= FLAT


def _numbers(maps: Sequence[Path]) -> tuple[list[int], str]:
    """Read the numbers of all label maps, or of as many as the time allows."""
    clock, found, read = Clock(SURVEY_S), Counter[int](), 0
    for index in spread(len(maps)):
        if clock.over and read >= 3:
            break
        labels = whole(read_voxels(maps[index], labels=True)[..., 0], f"label map `{maps[index]}`")
        found.update({int(value): 1 for value in np.unique(labels)})
        read += 1
    every = f"all {len(maps)} label maps" if read == len(maps) else f"{read} of {len(maps)} label maps"
    return sorted(found), every


def _other_channels(found: Recognised, files: Sequence[Path], pairing: Pairing, keys: Sequence[str]) -> None:
    """Ask which of several files of a case is the image; nnU-Net stores a channel in each: `_0000`, `_0001`."""
    if not CHANNEL.fullmatch(pairing.image.suffix):
        return
    known = set(keys)
    parts = [_stem(file).rpartition("_") for file in files]
    others = {f"_{end}" for key, _, end in parts if key in known and CHANNEL.fullmatch(f"_{end}")}
    rest = sorted(others - {min(others)})
    if rest:
        options = tuple(Option(f"files that end in `{each}`", (f"image_suffix={each}",)) for each in sorted(others))
        text = "Each case has a file for each channel, and one of them can be read: which?"
        found.questions.append(Question("image_suffix", text, options))
        found.state("image_suffix", min(others), "one channel in each file; one is read", "guess")
        found.notes.append(
            f"files that end in {', '.join(rest)} are not used; one file of four axes holds all channels"
        )


def _state_image(found: Recognised, images: Sequence[Path]) -> None:
    """State channels, and the range of values of CT."""
    channels = {read_header(images[index], 3).channels for index in spread(len(images))[:20]}
    found.state(
        "num_channels", min(channels), None if len(channels) == 1 else "the fewest that a volume has", "certain"
    )
    lows = [float(read_voxels(images[index]).min()) for index in spread(len(images))[:5]]
    if max(lows) <= AIR:
        reason = "values down to air, so these are Hounsfield units of CT; soft tissue becomes 0 to 1"
        found.state("intensity_range", SOFT_TISSUE, reason, "likely")
