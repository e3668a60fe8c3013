"""Pair NIfTI images with label maps: in two folders, in a folder for each case or split, or all in one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.names import composed
from segcli.core.types import Array
from segcli.data.images import natural_key, read_voxels
from segcli.datasets._channel_files import case_of
from segcli.files import ending_of
from segcli.planning.alike import are_alike
from segcli.planning.cases import CaseFolders, case_folders
from segcli.planning.class_files import ClassMasks, class_masks, class_of_volume
from segcli.planning.facts import Recognised
from segcli.planning.kinds import kinds_of
from segcli.planning.lacking import refuse_other_zeros
from segcli.planning.looks import named_image, named_mask
from segcli.planning.once import once
from segcli.planning.pairs import Affix, Pairing, beside, paired
from segcli.planning.starred import classes_in_folders, which_mask, which_suffix
from segcli.planning.surveys import spread
from segcli.planning.twins import Twins, members_of, twins_of

__all__ = ["Volumes", "flat_volumes", "volumes_in_folders"]

FLAT = 0.8
"""Smallest share of equal neighbours of a label map."""
MOST = 256
"""More different numbers are no labels."""
CHANNEL = 0.9
"""Smallest share of the cases that have a file of a channel."""
Places = Mapping[str, list[Path]]
Images = dict[str, list[Path]]
"""Files of the channels of each case."""


@dataclass(frozen=True)
class Volumes:
    """Holds images and label maps by the name of their case."""

    images: Images
    maps: dict[str, Path]
    sides: Mapping[str, Sequence[str]] | None = None
    """Names of the cases of each split, with wildcards; None if no folders are named after splits."""
    repeats: bool = False
    """True if a folder holds several cases that belong together."""
    classes: ClassMasks = field(default_factory=ClassMasks)
    """Label maps of each class, if each has a file."""


def volumes_in_folders(found: Recognised, places: Places, given: Mapping[str, Any]) -> Volumes | None:
    """Find a folder for each case, or several folders of images with label maps each; None if there are none."""
    cases = case_folders(places, _is_map)
    if cases is None:
        return _of_twins(found, places)
    cases = cases.with_mask(given.get("label_suffix"))
    classes = classes_in_folders(cases, class_of_volume, given)
    if (question := which_mask(cases, _foreground, classes)) is not None:
        found.questions.append(question)
        found.sure["label_suffix"] = "guess"
    images, maps = _in_folders(found, cases, classes)
    return Volumes(images, classes.first or maps, _sides(cases, images), cases.repeats, classes)


def _sides(cases: CaseFolders, images: Images) -> dict[str, list[str]] | None:
    heads: dict[str, list[str]] = {}
    for name in images:
        heads.setdefault(name.split("/")[0], []).append(name)
    return members_of(heads) if len(heads) < len(images) else None


def _of_twins(found: Recognised, places: Places) -> Volumes | None:
    """Find several folders of images with label maps each, such as `imagesTr` and `imagesVa`."""
    if len(places) < 4:
        return None
    each = {name: [_stem(file) for file in files] for name, files in places.items() if name != "."}
    masks = {name: mine for name, mine in each.items() if _is_labels(places[name])}
    images = {name: mine for name, mine in each.items() if name not in masks}
    twins = twins_of(images, masks)
    if twins is None:
        return None
    found.state("image_folder", twins.images.pattern, "`*` stands for the same in images and label maps")
    found.state("label_folder", twins.masks.pattern)
    found.state_parts("image", twins.pairing.image.parts)
    found.state_parts("label", twins.pairing.mask.parts)
    if twins.unused(places):
        found.state("exclude", list(twins.unused(places)), "folders without label maps")
    used = {*twins.images.folders.values(), *twins.masks.folders.values()} - {
        folder for key, folder in twins.images.folders.items() if key not in twins.masks.folders
    }
    found.notes += [f"`{name}` is not used" for name in each if name not in used]
    return _named_twins(found, twins, each, places)


def _named_twins(found: Recognised, twins: Twins, each: Mapping[str, list[str]], places: Places) -> Volumes:
    """Name the cases of folders of images with label maps each, with the channels of each image."""
    first = twins.pairing.image
    channels: dict[str, None] = {}
    for key in twins.keys:
        there = {twins.pairing.mask.key(stem) for stem in each[twins.masks.folders[key]]}
        mine = sorted({case for stem in each[twins.images.folders[key]] if (case := first.key(stem)) in there and case})
        channels |= dict.fromkeys(_channels(places[twins.images.folders[key]], twins.pairing, mine))
    suffixes = list(channels)
    if len(suffixes) > 1:
        found.keys.pop("image_suffix", None)
        found.state("channel_suffixes", suffixes, "a file for each channel of a case, in this order")
    else:
        suffixes = [first.suffix]
    images: Images = {}
    heads: dict[str, list[str]] = {}
    for suffix in suffixes:
        for key, names in twins.names(twins.images, each, Affix(first.prefix, suffix)).items():
            for name, file in zip(names, places[twins.images.folders[key]], strict=True):
                if name is not None:
                    images.setdefault(name, []).append(file)
                    heads.setdefault(key, []).append(name)
    maps = {
        name: file
        for key, names in twins.names(twins.masks, each).items()
        for name, file in zip(names, places[twins.masks.folders[key]], strict=True)
        if name is not None
    }
    return Volumes(
        images, maps, members_of({key: list(dict.fromkeys(names)) for key, names in heads.items()}), twins.are_clips
    )


def _in_folders(found: Recognised, cases: CaseFolders, classes: ClassMasks) -> tuple[Images, dict[str, Path]]:
    """State the folders and names of images and label maps that lie in a folder for each case."""
    first = cases.images[0]
    found.state("image_folder", first.pattern, "`*` stands for the folder of each case")
    found.state("label_folder", cases.mask.pattern)
    found.state_parts("label", cases.mask.affix.parts)
    channels = [slot for slot in cases.images if slot.inner == first.inner]
    if len(channels) == 1:
        found.state_parts("image", first.affix.parts)
    else:
        suffixes = [slot.affix.suffix for slot in channels]
        found.state("channel_suffixes", suffixes, "a file for each channel, in this order", "likely")
    unused, beside = cases.without(classes.files or {cases.mask.affix.suffix})
    if cases.left_out or beside:
        why = "images without a label map" if not beside else "other files of the same images"
        found.state("exclude", [*cases.left_out, *beside], why)
    found.notes += [f"`{each.pattern}/*{each.affix.suffix}` is not used" for each in unused]
    if cases.unused:
        found.notes.append(f"images of other names are not used, such as `{cases.unused}`")
    files = [cases.of_images(position) for position in range(len(channels))]
    return {name: [each[name] for each in files if name in each] for name in files[0]}, cases.of_masks()


def flat_volumes(found: Recognised, places: Places, given: Mapping[str, Any]) -> Volumes:
    """State the folders and names of images and label maps that lie in one folder each, or both in one.

    Raises:
        DataError: No label maps belong to the images.
    """
    if len(places) == 1 and (kinds := _of_kinds(found, places, given)) is not None:
        return kinds
    images, masks, pairing = _pair(places, given, found.root)
    found.state("image_folder", images, "voxels have many values")
    found.state("label_folder", masks, "voxels have a few whole numbers")
    found.notes += [f"`{name}` is not used: it has no label maps" for name in places if name not in (images, masks)]
    found.state_parts("image", pairing.image.parts)
    found.state_parts("label", pairing.mask.parts)
    maps = {key: file for file in places[masks] if (key := pairing.mask.key(_stem(file)))}
    taken = set(maps.values())
    files = {key: [file] for file in places[images] if file not in taken and (key := pairing.image.key(_stem(file)))}
    spare = [_stem(file) for file in places[masks] if pairing.mask.key(_stem(file)) not in files]
    refuse_other_zeros([_stem(file) for key, (file,) in files.items() if key not in maps], spare, "label map")
    classes = _classes_of(places[masks], pairing, list(files), given) if images != masks else ClassMasks()
    maps = classes.first or maps
    channels = (
        {} if given.get("image_suffix") else _channels(places[images], pairing, [key for key in files if key in maps])
    )
    if len(channels) < 2:
        return Volumes(files, maps, classes=classes)
    found.keys.pop("image_suffix", None)
    found.state("channel_suffixes", list(channels), "a file for each channel of a case, in this order")
    every = {key: None for each in channels.values() for key in each}
    joined = {key: [each[key] for each in channels.values() if key in each] for key in every}
    return Volumes(joined, maps, classes=classes)


def _classes_of(maps: Sequence[Path], pairing: Pairing, cases: Sequence[str], given: Mapping[str, Any]) -> ClassMasks:
    """Decide whether the label maps of a folder, several of each image, are its classes."""
    kinds: dict[str, dict[str, Path]] = {}
    known, prefix = set(cases), pairing.mask.prefix
    for file in maps:
        stem = _stem(file)
        case = case_of(stem.removeprefix(prefix), known, before="_-. ") if stem.startswith(prefix) else None
        if case is not None:
            kinds.setdefault(stem[len(prefix) + len(case) :], {})[case] = file
    return class_masks(kinds, class_of_volume, given)


def _of_kinds(found: Recognised, places: Places, given: Mapping[str, Any]) -> Volumes | None:
    """Find channels and label maps of each case in one folder; None if there is one image with one label map each."""
    ((folder, files),) = places.items()
    by_stem = {_stem(file): file for file in files}
    kinds = kinds_of(list(by_stem))
    if kinds is None or len(kinds) < 2:
        return None
    mine = {end: {case: by_stem[f"{case}{end}"] for case in cases} for end, cases in kinds.items()}
    looks = {end: _is_labels(list(each.values())) for end, each in mine.items()}
    channels = sorted((end for end in mine if not looks[end]), key=lambda each: natural_key(Path(each or "_")))
    masks = sorted((end for end in mine if looks[end]), key=lambda end: end != given.get("label_suffix"))
    others = len(by_stem) - sum(map(len, mine.values()))
    if (
        not channels
        or not masks
        or (len(channels) == len(masks) == 1 and not others and len(mine) == 2 and beside(list(by_stem)))
    ):
        return None
    found.state("image_folder", folder, "voxels have many values")
    found.state("label_folder", folder, "voxels have a few whole numbers")
    found.state("label_suffix", masks[0])
    if len(channels) > 1:
        found.state("channel_suffixes", channels, "a file for each channel of a case, in this order", "likely")
    elif channels[0]:
        found.state("image_suffix", channels[0])
    classes = class_masks({end: mine[end] for end in masks}, class_of_volume, given)
    cases = dict.fromkeys(case for end in channels for case in mine[end])
    images = {case: [mine[end][case] for end in channels if case in mine[end]] for case in cases}
    if classes.files:
        return Volumes(images, classes.first, classes=classes)
    if len(masks) > 1 and "" in channels:
        found.state("exclude", [f"*{escape(end)}" for end in masks[1:]], "other label maps of the same images")
    if len(masks) > 1:
        alike = are_alike([mine[end] for end in masks], _foreground)
        found.questions.append(which_suffix(masks, alike=alike, classes=classes))
        found.sure["label_suffix"] = "guess"
        found.notes += [f"`*{end}` is not used" for end in masks[1:]]
    return Volumes(images, mine[masks[0]])


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
        looked = {_stem(path): _is_map(path) for path in dict.fromkeys((*files[:2], *files[-2:]))}
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
    return all(_is_map(files[index]) for index in spread(len(files))[:3])


@once
def _is_map(path: Path) -> bool:
    return _holds_labels(read_voxels(path))


def _turned(pairing: Pairing, files: Sequence[Path]) -> Pairing:
    """Put the images first."""
    first = next(file for file in files if pairing.image.key(_stem(file)) and not pairing.mask.key(_stem(file)))
    return Pairing(pairing.mask, pairing.image, pairing.count) if _is_map(first) else pairing


def _foreground(path: Path) -> Array:
    voxels: Array = read_voxels(path, labels=True) > 0
    return voxels


def _holds_labels(voxels: Array) -> bool:
    """Tell whether voxels hold a few whole numbers in flat regions."""
    values = voxels[..., 0]
    if not np.isfinite(values).all() or values.min() < 0 or (values != np.rint(values)).any():
        return False
    return len(np.unique(values)) <= MOST and _flatness(values) >= FLAT


def _flatness(values: Array) -> float:
    """Compute the share of equal neighbours along the second flattest axis; planes may lie far apart."""
    shares = [float((np.diff(values, axis=axis) == 0).mean()) for axis in range(3) if values.shape[axis] > 1]
    return sorted(shares)[-2:][0] if shares else 1.0


def _channels(files: Sequence[Path], pairing: Pairing, keys: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Find the files of a case beside its first: nnU-Net stores a channel in each, `_0000`, `_0001`.

    Returns:
        Files by the name of the case, for each suffix that nearly all cases have.
    """
    known, prefix = set(keys), pairing.image.prefix
    found: dict[str, dict[str, Path]] = {}
    for file in files:
        stem = _stem(file)
        case = case_of(stem.removeprefix(prefix), known) if stem.startswith(prefix) else None
        if case is not None:
            found.setdefault(stem[len(prefix) + len(case) :], {})[case] = file
    labels = pairing.mask.suffix if pairing.mask.prefix == prefix else None
    usual = [each for each in found if each != labels and len(found[each]) >= CHANNEL * len(keys)]
    return {suffix: found[suffix] for suffix in sorted(usual, key=lambda each: natural_key(Path(each or "_")))}
