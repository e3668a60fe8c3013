"""Find images and masks in folders with `*`: a folder for each case, or folders below those of images and masks."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.names import composed, fits
from segcli.core.types import Array, Mask
from segcli.data.split_settings import SIDES
from segcli.datasets._case_folders import case_name
from segcli.datasets._channel_files import case_of
from segcli.planning.alike import are_alike
from segcli.planning.cases import CaseFolders, case_folders
from segcli.planning.class_files import ClassMasks, class_masks, class_of_picture
from segcli.planning.facts import Option, Question, Recognised
from segcli.planning.groups import Groups
from segcli.planning.listing import Listing
from segcli.planning.looks import KINDS, Look, is_mask, look_at
from segcli.planning.pairs import Affix, Pairing, paired, stems
from segcli.planning.roles import Roles, Side, foreground_of
from segcli.planning.sides import are_kinds, draw, side_of_name

__all__ = [
    "Starred",
    "classes_in_folders",
    "of_folders",
    "starred",
    "state_starred_split",
    "which_mask",
    "which_suffix",
]

FEW = 6
"""Folders that are looked at."""
SHARED = 0.8
"""Smallest share of the folders below one folder that are below the other one too."""
KIND = 0.5
"""Smallest share of the images for which there is a mask of a kind."""


@dataclass(frozen=True)
class Starred:
    """Holds images and masks that were found in folders with `*`."""

    roles: Roles
    images: Mapping[str, Path]
    """Images by the name of their case."""
    masks: Sequence[Path]
    notes: tuple[str, ...] = ()
    question: Question | None = None
    sides: Mapping[str, Sequence[str]] | None = None
    """Names of the cases of each split, with wildcards; None if the folders say nothing about splits."""
    repeats: bool = False
    """True if a folder holds several cases that belong together."""
    listing: Listing | None = None
    """Folder that the patterns start from; None for the whole folder."""
    lacking: frozenset[str] = frozenset()
    """Names of images without a mask."""
    label_extensions: tuple[str, ...] = ()
    """Extensions of the masks if only they tell masks from images."""
    draws: bool = False
    """True if the split that folders are named after lacks validation, and all other names are of the training."""
    exclude: tuple[str, ...] = ()
    """Names of images in these folders that are not used, with wildcards."""
    why_excluded: str = "folders that fit the pattern and have no masks"
    """Reason to leave them out."""
    classes: ClassMasks = field(default_factory=ClassMasks)
    """Masks of each class, if each has a file."""


def starred(listing: Listing, given: Mapping[str, Any]) -> Starred | None:
    """Find images and masks in folders with `*`; None if there are none.

    Raises:
        DataError: No file can be read.
    """
    if "." not in listing.pictures:
        found = case_folders(listing.pictures, is_mask)
        if found is not None:
            return _of_cases(found.with_mask(given.get("label_suffix")), given)
        there = _of_one_child(listing, given) or _of_nested(listing, given)
        if there is not None:
            return there
    return None


def _of_one_child(listing: Listing, given: Mapping[str, Any]) -> Starred | None:
    """Find folders of cases in the only folder whose cases have masks, such as `stage1_train` and not `stage1_test`."""
    found: dict[str, CaseFolders] = {}
    for child in listing.children:
        inside = listing.below(child)
        cases = None if "." in inside.pictures else case_folders(inside.pictures, is_mask)
        if cases is not None:
            found[child] = cases
    others = {child: listing.below(child).pictures for child in listing.children if child not in found}
    others = {child: folders for child, folders in others.items() if folders}
    if len(found) != 1 or not others or any(_hold_masks(folders) for folders in others.values()):
        return None
    ((child, cases),) = found.items()
    there = _of_cases(cases.with_mask(given.get("label_suffix")), given)
    notes = (*there.notes, *(f"`{other}` is not used: it has no masks in a folder for each image" for other in others))
    return replace(there, listing=listing.below(child), notes=notes)


def _of_cases(found: CaseFolders, given: Mapping[str, Any]) -> Starred:
    classes = classes_in_folders(found, class_of_picture, given)
    image, mask = found.images[0], found.mask
    images, masks = found.of_images(), classes.first or found.of_masks()
    looks = look_at(list(images.values())), look_at(list(masks.values()))
    side = Side(mask.pattern, looks[1], Pairing(image.affix, mask.affix, len(images.keys() & masks.keys())))
    notes = ["a mask for each object: touching objects become one"] if found.are_objects else []
    notes += [f"images of other names are not used, such as `{found.unused}`"] if found.unused else []
    used = classes.files or {mask.affix.suffix}
    others, beside = found.without(used)
    unused = (*found.images[1:], *others)
    notes += [f"`{slot.pattern}/*{slot.affix.suffix}.*` is not used" for slot in unused]
    heads = {name.split("/")[0] for name in images} if image.depth > 1 else set()
    sides = {split: [f"{head}/*"] for head in heads if (split := side_of_name(head)) is not None}
    return Starred(
        Roles(image.pattern, looks[0], [side]),
        images,
        [path for name, path in masks.items() if name in images],
        tuple(notes),
        which_mask(found, foreground_of, classes),
        sides if "train" in sides and len(sides) == len(heads) else None,
        repeats=found.repeats,
        lacking=frozenset(images.keys() - masks.keys()),
        label_extensions=tuple(sorted(each.lstrip(".") for each in mask.endings)),
        exclude=beside,
        why_excluded="other files of the same images",
        classes=classes,
    )


def _hold_masks(folders: Mapping[str, Sequence[Path]]) -> bool:
    """Tell whether one of the first folders holds masks."""
    for files in list(folders.values())[:FEW]:
        with suppress(DataError):
            if look_at(files).is_mask:
                return True
    return False


# ---- folders below those of images and masks


def _of_nested(listing: Listing, given: Mapping[str, Any]) -> Starred | None:
    """Find two folders with the same folders in them, one of images and one of masks, such as those of Cityscapes."""
    inside = {child: listing.below(child).pictures for child in listing.children}
    inside = {child: folders for child, folders in inside.items() if folders and "." not in folders}
    looks: dict[str, Look] = {}
    for child, folders in inside.items():
        with suppress(DataError):
            looks[child] = look_at(next(iter(folders.values())))
    pairs = [
        (one, other, stars)
        for one, look in looks.items()
        for other, second in looks.items()
        if not look.is_mask and second.is_mask and (stars := _stars(set(inside[one]), set(inside[other])))
    ]
    if not pairs:
        return None
    if len({one for one, *_ in pairs}) < len(pairs):
        return None  # several folders of masks for the same images
    one, other, stars = pairs[0]
    shared = set(inside[one]) & set(inside[other])
    places = tuple({name: inside[each][name] for name in shared} for each in (one, other))
    return _of_kinds((f"{one}{stars}", f"{other}{stars}"), places, given)


def _stars(first: set[str], second: set[str]) -> str:
    """Return `/*` for each level of the folders that two folders share; nothing if they share few."""
    shared = first & second
    depths = {name.count("/") for name in shared}
    return "/*" * (1 + depths.pop()) if len(depths) == 1 and len(shared) >= SHARED * len(second) else ""


Folders = Mapping[str, Sequence[Path]]


def _of_kinds(patterns: tuple[str, str], places: tuple[Folders, ...], given: Mapping[str, Any]) -> Starred | None:
    """Choose between the kinds of masks that a folder may hold for each image, such as colours and numbers."""
    images, masks = ([file for files in folders.values() for file in files] for folders in places)
    pairing = paired(stems(images), stems(masks))
    if pairing is None:
        return None
    keys = {key for stem in stems(images) if (key := pairing.image.key(stem))}
    kinds: dict[str, list[Path]] = {}
    for file, stem in zip(masks, stems(masks), strict=True):
        case = case_of(stem, keys)
        if case is not None:
            kinds.setdefault(stem[len(case) :], []).append(file)
    found = {suffix: files for suffix, files in kinds.items() if len(files) >= KIND * len(keys)}
    looks = {suffix: look for suffix, files in found.items() if (look := look_at(files)).is_mask}
    if not looks:
        return None
    order = sorted(looks, key=lambda suffix: KINDS.index(looks[suffix].kind))
    chosen = given["label_suffix"] if given.get("label_suffix") in looks else order[0]
    side = Side(patterns[1], looks[chosen], Pairing(pairing.image, Affix(suffix=chosen), len(found[chosen])))
    sides, empty = _sides(places[0], set(found[chosen]), places[1])
    named = {
        case_name(composed(folder), pairing.image.key(stem) or stem): file
        for folder, files in places[0].items()
        if folder.split("/")[0] not in empty
        for file, stem in zip(files, stems(files), strict=True)
    }
    used = [file for folder, files in places[1].items() if folder.split("/")[0] not in empty for file in files]
    return Starred(
        Roles(patterns[0], look_at(images), [side]),
        named,
        [file for file in used if file in set(found[chosen])],
        tuple(f"`{name}` has no masks, or empty ones, and is not used" for name in empty),
        _which(chosen, order) if len(order) > 1 else None,
        sides,
        repeats=True,
    )


def classes_in_folders(
    found: CaseFolders, inside: Callable[[Path], Mask | None], given: Mapping[str, Any]
) -> ClassMasks:
    """Decide whether several masks in the folder of a case are its classes."""
    if len({(slot.inner, slot.affix.prefix, slot.endings) for slot in found.masks}) > 1 or found.are_objects:
        return ClassMasks()
    kinds = zip(found.masks, found.of_kinds(), strict=True)
    return class_masks({slot.affix.suffix: files for slot, files in kinds}, inside, given)


def which_mask(
    found: CaseFolders, foreground: Callable[[Path], Array], classes: ClassMasks | None = None
) -> Question | None:
    """Ask which of several masks in the folder of a case is the truth; None if there is one, or one for each class."""
    suffixes = [slot.affix.suffix for slot in found.masks]
    if len(suffixes) < 2 or (classes is not None and classes.files):
        return None
    return which_suffix(suffixes, alike=are_alike(found.of_kinds(), foreground), classes=classes)


def which_suffix(suffixes: Sequence[str], *, alike: bool, classes: ClassMasks | None = None) -> Question:
    """Ask which of several masks of each image, told by their suffix, is the truth.

    Args:
        suffixes: Suffixes of the masks, the proposal first.
        alike: They show the same; else none is likelier than another.
        classes: Says whether they mark the same pixels.
    """
    options = [Option(f"`*{each}`", (f"label_suffix={each}",)) for each in suffixes]
    what = "masks" if alike else "masks that show different things"
    text = f"Each image has {len(suffixes)} {what}: which is the truth?"
    if not alike:
        text += " (All at once need one mask that holds a number for each.)"
        if classes is not None and classes.clash:
            text += f" {classes.clash}."
            options += classes.options
    return Question("label_suffix", text, tuple(options), is_open=not alike)


def _which(chosen: str, order: Sequence[str]) -> Question:
    return which_suffix([chosen, *(each for each in order if each != chosen)], alike=True)


def _sides(images: Folders, chosen: set[Path], masks: Folders) -> tuple[dict[str, Sequence[str]] | None, list[str]]:
    """Assign folders named after splits; the second list has those whose masks are missing or hold one value."""
    heads = dict.fromkeys(name.split("/")[0] for name in images)
    named = {side: head for head in heads if (side := side_of_name(head)) is not None}
    if "train" not in named:
        return None, []
    empty = []
    for side, head in named.items():
        files = [file for name, each in masks.items() if name.split("/")[0] == head for file in each if file in chosen]
        if side != "train" and (not files or _is_empty(files)):
            empty.append(head)
    return {side: [f"{head}/*"] for side, head in named.items() if head not in empty}, empty


def _is_empty(files: Sequence[Path]) -> bool:
    """Tell whether masks hold one value, as those of a test whose truth is kept secret."""
    look = look_at(files)
    return (look.kind in ("binary", "index") and len(look.values) == 1) or (look.kind == "colours" and not look.detail)


def state_starred_split(found: Recognised, there: Starred) -> None:
    """State the split by folders that are named after it, or draw shares of whole folders."""
    if there.sides is not None:
        found.state("split.by", "lists", "folders named after splits")
        for side in SIDES:
            if side in there.sides and not (side == "train" and there.draws):
                found.state(f"split.{side}", list(there.sides[side]))
        if "val" not in there.sides and there.draws:
            rest = _rest(there)
            others = [name for name in there.images if name not in {*rest, *there.lacking}]
            draw(found, rest, by=None, unit="image", val_only=True, taken=others)
        elif "val" not in there.sides:
            found.notes.append(
                "there is no validation, so that no best epoch is chosen: list some names as `split.val`"
            )
        return
    names = [name for name in there.images if name not in there.lacking]
    groups = of_folders(names) if there.repeats else None
    kinds = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
    if groups is not None and are_kinds(kinds):
        groups = None
        found.notes.append(
            f"{', '.join(f'`{kind}`' for kind in kinds)} are taken for kinds of images, and every split gets some of "
            "each: if each holds one patient or video, state `split.group=^(.+)/`"
        )
    draw(found, names, by="fraction", unit="image", groups=groups)


def _rest(there: Starred) -> list[str]:
    """Return the names of the training, from which a share validates."""
    others = [each for side, names in (there.sides or {}).items() if side != "train" for each in names]
    return [name for name in there.images if not fits(name, others) and name not in there.lacking]


def of_folders(names: Sequence[str]) -> Groups | None:
    """Keep the cases of a folder together; None if their names do not have it."""
    heads: dict[str, list[str]] = {}
    for name in names:
        heads.setdefault(name.rpartition("/")[0], []).append(name)
    if "" in heads or len(heads) < 2:
        return None
    largest = max(heads.values(), key=len)
    return Groups("^(.+)/", len(heads), (largest[0], largest[-1]), len(largest))
