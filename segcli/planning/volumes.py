"""Recognise NIfTI volumes, also in folders of nnU-Net, of the Decathlon and of single cases, and TIFF stacks."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.names import composed
from segcli.core.paths import escaped
from segcli.core.types import Array
from segcli.data.images import natural_key, read_voxels
from segcli.data.whole_numbers import whole
from segcli.files import ending_of, read_header
from segcli.files.tiff import TIFF
from segcli.planning.cases import CaseFolders, case_folders
from segcli.planning.clock import Clock
from segcli.planning.facts import Recognised
from segcli.planning.labels import described, state_structures
from segcli.planning.listing import NIFTI, Listing
from segcli.planning.looks import named_image, named_mask
from segcli.planning.pairs import Pairing, beside, paired
from segcli.planning.sides import draw, side_of_name, split_of_lists
from segcli.planning.starred import of_folders, which_mask
from segcli.planning.surveys import spread

__all__ = ["nifti_volumes"]

SURVEY_S = 6.0
"""Processor seconds to read label maps."""
FLAT = 0.8
"""Smallest share of equal neighbours of a label map."""
LOOKED = 3
"""Folders, and files of each, that are looked at."""
MOST = 256
"""More different numbers are no labels."""
AIR = -900
"""CT stores air as about -1000; no other scanner has values that low."""
SOFT_TISSUE = [-200, 300]
"""Hounsfield units between fat and contrast agent."""
CHANNEL = 0.9
"""Smallest share of the cases that have a file of a channel."""
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
    split = _split_folder(places)
    if split is not None:
        found.notes += [
            f"`{other}` is not used: the cases of `{split}` are divided" for other in _others(places, split)
        ]
        listing = listing.below(split)
        places = {name[len(split) + 1 :]: files for name, files in places.items() if name.startswith(f"{split}/")}
    found.root = listing.root
    found.state("format", "nifti_volumes")
    found.state("paths.root", escaped(listing.root.absolute()))
    cases = case_folders(places, lambda path: _holds_labels(read_voxels(path)))
    if cases is not None:
        cases = cases.with_mask(given.get("label_suffix"))
        if (question := which_mask(cases)) is not None:
            found.questions.append(question)
            found.sure["label_suffix"] = "guess"
    files, maps = _flat(found, places, given) if cases is None else _in_folders(found, cases)
    keys = [key for key in files if key in maps]
    endings = sorted({ending_of(path) for key in keys for path in (files[key][0], maps[key])})
    if not set(endings) <= set(NIFTI):
        found.state("extensions", endings, "files of several pages, which are the planes of a volume")
    numbers, seen = _numbers([maps[key] for key in keys])
    state_structures(found, numbers, described(listing.root), seen)
    _state_image(found, [files[key] for key in keys])
    if not split_of_lists(found, listing, keys, by=None):
        draw(
            found, keys, by=None, unit="case", groups=of_folders(keys) if cases is not None and cases.repeats else None
        )
    found.about = f"{len(keys)} {kind} with label maps of {len(found.keys['numbers'])} structures"
    if len(keys) < len(files):
        found.notes.append(
            f"{len(files) - len(keys)} of {len(files)} images have no label map: `data check` names them"
        )
    return found


Places = Mapping[str, list[Path]]
Images = dict[str, list[Path]]
"""Files of the channels of each case."""


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


def _in_folders(found: Recognised, cases: CaseFolders) -> tuple[Images, dict[str, Path]]:
    """State the folders and names of images and label maps that lie in a folder for each case."""
    first = cases.images[0]
    found.state("image_folder", first.pattern, "`*` stands for the folder of each case")
    found.state("label_folder", cases.mask.pattern)
    for kind, text in cases.mask.affix.parts.items():
        found.state(f"label_{kind}", text)
    channels = [slot for slot in cases.images if slot.inner == first.inner]
    if len(channels) == 1:
        for kind, text in first.affix.parts.items():
            found.state(f"image_{kind}", text)
    else:
        suffixes = [slot.affix.suffix for slot in channels]
        found.state("channel_suffixes", suffixes, "a file for each channel, in this order", "likely")
    if cases.left_out:
        found.state("exclude", list(cases.left_out), "images without a label map")
    found.notes += [f"`{each.pattern}/*{each.affix.suffix}` is not used" for each in cases.other_masks]
    files = [cases.of_images(position) for position in range(len(channels))]
    return {name: [each[name] for each in files if name in each] for name in files[0]}, cases.of_masks()


def _flat(found: Recognised, places: Places, given: Mapping[str, Any]) -> tuple[Images, dict[str, Path]]:
    """State the folders and names of images and label maps that lie in one folder each, or both in one."""
    images, masks, pairing = _pair(places, given, found.root)
    found.state("image_folder", images, "voxels have many values")
    found.state("label_folder", masks, "voxels have a few whole numbers")
    for word, affix in (("image", pairing.image), ("label", pairing.mask)):
        for kind, text in affix.parts.items():
            found.state(f"{word}_{kind}", text)
    maps = {key: file for file in places[masks] if (key := pairing.mask.key(_stem(file)))}
    files = {key: [file] for file in places[images] if (key := pairing.image.key(_stem(file)))}
    channels = (
        {} if given.get("image_suffix") else _channels(places[images], pairing, [key for key in files if key in maps])
    )
    if len(channels) < 2:
        return files, maps
    found.keys.pop("image_suffix", None)
    found.state("channel_suffixes", list(channels), "a file for each channel of a case, in this order")
    every = {key: None for each in channels.values() for key in each}
    return {key: [each[key] for each in channels.values() if key in each] for key in every}, maps


def _stem(file: Path) -> str:
    return composed(file.name[: -len(ending_of(file))])


# ---- images and label maps


def _pair(places: Places, given: Mapping[str, Any], root: Path) -> tuple[str, str, Pairing]:
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
        looked = {_stem(path): _holds_labels(read_voxels(path)) for path in dict.fromkeys((*files[:2], *files[-2:]))}
        groups = ([stem for stem, is_mask in looked.items() if is_mask is each] for each in (False, True))
        same = beside(list(map(_stem, files)), *groups)
        if same is not None:
            return name, name, same if len(set(looked.values())) == 2 else _turned(same, files)
    raise DataError(
        f"no label maps for the NIfTI images of `{shown(root)}`: none have the names of images",
        hint="put images and label maps into two folders, with one name for each case",
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


def _channels(files: Sequence[Path], pairing: Pairing, keys: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Find the files of a case beside its first: nnU-Net stores a channel in each, `_0000`, `_0001`.

    Returns:
        Files by the name of the case, for each suffix that nearly all cases have.
    """
    known, prefix = sorted(keys), pairing.image.prefix
    found: dict[str, dict[str, Path]] = {}
    for file in files:
        stem = _stem(file)
        at = bisect_right(known, stem.removeprefix(prefix)) - 1
        if at >= 0 and stem.startswith(f"{prefix}{known[at]}"):
            found.setdefault(stem[len(prefix) + len(known[at]) :], {})[known[at]] = file
    labels = pairing.mask.suffix if pairing.mask.prefix == prefix else None
    usual = [each for each in found if each != labels and len(found[each]) >= CHANNEL * len(keys)]
    return {suffix: found[suffix] for suffix in sorted(usual, key=lambda each: natural_key(Path(each or "_")))}


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
