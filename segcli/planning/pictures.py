"""Recognise images and masks in folders, with or without a folder for each split, and masks beside their images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from glob import escape
from itertools import compress
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.paths import escaped
from segcli.datasets._pictures import ON_REQUEST
from segcli.planning.beside import roles_within
from segcli.planning.channel_files import channels_among
from segcli.planning.channels import state_channels
from segcli.planning.class_files import ClassMasks, class_masks, class_of_picture, classes_in_places
from segcli.planning.classes import classes_of
from segcli.planning.clock import Clock
from segcli.planning.facts import Option, Question, Recognised
from segcli.planning.lacking import leave_out, refuse_other_zeros
from segcli.planning.listing import Listing
from segcli.planning.lists import split_of_lists
from segcli.planning.looks import look_at, named_objects
from segcli.planning.other_kinds import tell_other_kinds
from segcli.planning.pairs import Affix, paired, stems
from segcli.planning.places import Places, places_of, stated_places
from segcli.planning.roles import NoMasksError, Roles, roles_of
from segcli.planning.sides import draw
from segcli.planning.starred import Starred, starred, state_starred_split, which_suffix
from segcli.planning.surveys import survey
from segcli.planning.twin_folders import twin_folders
from segcli.planning.unread import way_to_masks

__all__ = ["image_folders"]

SAME_STEM = "image and mask of one stem differ in their extension"
SURVEY_S, OBJECTS_S = 5.0, 1.0
"""Processor seconds to read masks, and to find out whether they number objects."""


def image_folders(listing: Listing, given: Mapping[str, Any], name: str) -> Recognised | None:
    """Recognise 2D images with masks; None if there are no 2D images.

    Raises:
        DataError: There are images, but no masks that belong to them, or something else that a person must mend.
    """
    if not listing.pictures:
        return None
    whole = listing
    places = places_of(listing, given)
    there = None if places.splits or stated_places(given) else starred(listing, given) or twin_folders(listing, given)
    if there is not None:
        return _of_stars(listing, given, name, there)
    joined = places.of_training
    roles = _roles(joined, given, whole)
    lacking = _lacking(places, roles)
    if lacking:
        places, listing = places.without(lacking), listing.below(places.splits["train"])
        joined = places.of_training
    found = Recognised(listing.root, name, "", {}, "binary")
    found.state("format", "image_folders")
    found.state("paths.root", escaped(listing.root.absolute()))
    found.notes += [f"`{folder}` has no masks and is not used" for folder in lacking.values()]
    _state_splits(found, places, whole.root)
    first, *rest = roles.masks
    if roles.files is None and first.folder != roles.image:
        files = joined[roles.image], joined[first.folder]
        kinds = tell_other_kinds(found, first.pairing, *files, given)
        roles = replace(roles, masks=[replace(first, pairing=kinds.pairing), *rest])
        places, channels = places.without_files(kinds.further), kinds.channels
        classes = kinds.classes if kinds.classes.files else classes_in_places(roles, joined, given)
        joined = places.of_training
    else:
        channels = channels_among(roles.kinds, given)
        classes = class_masks(roles.mask_kinds, class_of_picture, given)
        taken = {*channels.files, *classes.files}
        roles = replace(roles, unused={end: n for end, n in roles.unused.items() if end not in taken})
    affixes = _state_folders(found, roles, places, classes)
    channels.state_suffixes(found)
    images, masks = _files(roles, joined, classes)
    if roles.files is not None and roles.masks[0].folder == roles.image:
        _state_kinds(found, roles, classes)
    pairing = roles.masks[0].pairing
    keys: set[str | None] = {*classes.first} or {pairing.mask.key(stem) for stem in stems(masks)}
    names = stems(images)
    has_mask = [pairing.image.key(stem) in keys for stem in names]
    with_mask = list(compress(images, has_mask))
    used = {*images, *masks}
    spare = [file for file in joined.get(roles.masks[0].folder, ()) if file not in used]
    refuse_other_zeros([stem for stem, has in zip(names, has_mask, strict=True) if not has], stems(spare), "mask")
    _state_pixels(found, channels.every or with_mask, masks, roles, listing.tables, given, classes)
    channels.state_number(found)
    named = {affixes.key(stem) or stem: has for stem, has in zip(names, has_mask, strict=True)}
    _state_split(found, listing, places, roles, [name for name, has in named.items() if has])
    count = _leave_out(found, [name for name, has in named.items() if not has], len(images), places)
    found.about = _about(found, count, places)
    return found


def _roles(joined: Mapping[str, list[Path]], given: Mapping[str, Any], whole: Listing) -> Roles:
    """Decide what each folder holds; an error about missing masks says what to do with files of other formats."""
    try:
        if len(joined) == 1:
            return roles_within(joined, given.get("label_suffix"))
        return roles_of(joined, image=given.get("image_folder"), mask=given.get("label_folder"))
    except NoMasksError as error:
        raise DataError(error.message, hint=way_to_masks(whole) or error.hint) from None


def _of_stars(listing: Listing, given: Mapping[str, Any], name: str, there: Starred) -> Recognised:
    """Recognise images in folders with `*`."""
    listing = there.listing or listing
    found = Recognised(listing.root, name, "", {}, "binary")
    found.state("format", "image_folders")
    found.state("paths.root", escaped(listing.root.absolute()))
    places = Places({}, {".": {}})
    if there.label_extensions:
        found.state("label_extensions", list(there.label_extensions), SAME_STEM)
    if there.exclude:
        found.state("exclude", list(there.exclude), there.why_excluded)
    _state_folders(found, there.roles, places, there.classes)
    found.reasons["label_folder"] = "`*` stands for each folder; its name is part of the name of a case"
    if there.question is not None:
        found.questions.append(there.question)
        found.sure[there.question.key] = "guess"
    found.notes += there.notes
    images = [file for name, file in there.images.items() if name not in there.lacking]
    _state_pixels(found, images, there.masks, there.roles, listing.tables, given, there.classes)
    names = [name for name in there.images if name not in there.lacking]
    if there.sides is not None or not split_of_lists(found, listing, names, by="lists"):
        state_starred_split(found, there)
    lacking = [name for name in there.images if name in there.lacking]
    count = _leave_out(found, lacking, len(there.images), places)
    found.about = _about(found, count, places)
    return found


def _state_pixels(
    found: Recognised,
    images: Sequence[Path],
    masks: Sequence[Path],
    roles: Roles,
    tables: Sequence[Path],
    given: Mapping[str, Any],
    of_files: ClassMasks,
) -> None:
    """State the classes of the masks, the channels of the images, and unusual extensions."""
    endings = {path.suffix.lower() for path in (*images, *masks)} & set(ON_REQUEST)
    if endings:
        every = sorted(path.suffix.lower().lstrip(".") for path in (*images, *masks))
        found.state("extensions", list(dict.fromkeys(every)), "extensions of images and masks")
    state_channels(found, images)
    if of_files.files:
        of_files.state_in(found, background=True)
        return
    coloured = roles.masks[0].look.kind == "colours"
    marks = survey(masks, coloured=coloured, clock=Clock(SURVEY_S))
    classes = classes_of(marks, tables, given, always_many=False)
    found.task = classes.task
    classes.state_in(found)
    found.notes += marks.broken[:3]


# ---- folders


def _files(roles: Roles, joined: Mapping[str, list[Path]], classes: ClassMasks) -> tuple[list[Path], list[Path]]:
    """Return the images, and the masks that belong to them."""
    if roles.files is not None:
        return roles.files[0], classes.every or roles.files[1]
    side = roles.masks[0]
    files, every = joined[roles.image], joined[side.folder]
    if side.folder == roles.image:
        is_mask = {
            file for file, stem in zip(every, stems(every), strict=True) if side.pairing.mask.key(stem) is not None
        }
        files = [file for file in files if file not in is_mask]
    keys = {side.pairing.image.key(stem) for stem in stems(files)} - {None}
    masks = [file for file, stem in zip(every, stems(every), strict=True) if side.pairing.mask.key(stem) in keys]
    return files, classes.every or masks


def _state_splits(found: Recognised, places: Places, root: Path) -> None:
    """State the folders of splits whose names are not the usual ones."""
    for side, folder in places.splits.items():
        where = (root / folder).absolute()
        if where != found.root.absolute() / side:
            found.state(f"paths.{side}", escaped(where), sure="certain" if places.sure else "guess")
    if places.splits and not places.sure:
        chosen = ", ".join(f"`{folder}` as {side}" for side, folder in places.splits.items())
        text = f"Folders with images and masks each: {chosen}?"
        answer = tuple(f"paths.{side}={escaped(Path(shown(root / folder)))}" for side, folder in places.splits.items())
        option = Option("yes, these are the splits", answer)
        found.questions.append(Question("paths.train", text, (option,)))


def _state_folders(found: Recognised, roles: Roles, places: Places, classes: ClassMasks) -> Affix:
    """State folders and affixes of images, masks and fields of view; returns the affix of the images."""
    side = roles.masks[0]
    image = side.pairing.image
    field = roles.fov
    if field is not None and field.pairing.image.length > image.length:
        image = field.pairing.image
    found.state("image_folder", roles.image, _sample(roles), "certain" if roles.look.sure else "likely")
    folder = classes.folder if classes.files else None
    found.state("label_folder", folder or side.folder)
    _tell_others(found, replace(roles, masks=[side]) if folder else roles, places.of_training, classes)
    suffixes = {"image": image, "label": side.pairing.for_image(image)}
    if field is not None:
        suffixes["fov"] = field.pairing.for_image(image)
        found.state(
            "fov_folder", field.folder, "one convex region that holds the masks: pixels outside do not count", "likely"
        )
    per_split = _by_split(roles, places)
    for word, affix in suffixes.items():
        if affix is not None and per_split is None:
            found.state_parts(word, affix.parts)
    for key, values in (per_split or {}).items():
        if any(values):
            found.state(key, values[0] if len(values) == 1 else values)
    return image


def _by_split(roles: Roles, places: Places) -> dict[str, list[str]] | None:
    """Find suffixes that differ from split to split; None if one pairing fits all."""
    side = roles.masks[0]
    if len(places.splits) < 2 or side.folder == roles.image:
        return None
    found: dict[str, dict[str, None]] = {"image_suffix": {}, "label_suffix": {}, "fov_suffix": {}}
    whole = True
    for folders in places.files.values():
        images = stems(folders.get(roles.image, []))
        masks = folders.get(side.folder, [])
        whole &= len(side.pairing.partners(images, masks)) == len(images)
        pairing = paired(images, stems(masks))
        if pairing is None or pairing.image.prefix or pairing.mask.prefix:
            return None
        found["image_suffix"][pairing.image.suffix] = None
        found["label_suffix"][pairing.mask.suffix] = None
        if roles.fov is not None:
            field = paired(images, stems(folders.get(roles.fov.folder, [])))
            affix = None if field is None else field.for_image(pairing.image)
            if affix is None:
                return None
            found["fov_suffix"][affix.suffix] = None
    return None if whole else {key: list(values) for key, values in found.items()}


def _sample(roles: Roles) -> str:
    words = {"binary": "0 and 1, or 0 and 255", "soft": "black and white, blurred", "colours": "a few colours"}
    look = roles.masks[0].look
    return f"photographs by their pixels; the masks hold {words.get(look.kind, 'a few numbers')}"


def _numbers_objects(masks: Sequence[Path]) -> bool:
    """Tell whether masks hold a number for each object."""
    return look_at(masks).kind == "index" and survey(masks, coloured=False, clock=Clock(OBJECTS_S)).instances


def _tell_others(found: Recognised, roles: Roles, joined: Mapping[str, list[Path]], classes: ClassMasks) -> None:
    """Ask which of several folders of masks is the truth, and tell of folders that are not used."""
    if len(roles.masks) > 1 and roles.files is None:
        first, *others = roles.masks
        plain = first.look.kind == "binary" and all(_numbers_objects(joined[side.folder]) for side in others)
        plain |= all(named_objects(side.folder) and side.look.kind == "index" for side in others)
        names = ", ".join(f"`{side.folder}`" for side in others)
        if plain and roles.same:
            found.notes.append(f"{names} numbers the objects of `{first.folder}` and is not used")
            found.reasons["label_folder"] = f"{names} holds the same with a number for each object"
        else:
            alike = roles.same and len({side.look.kind for side in roles.masks}) == 1
            coded = "mark the same pixels in different codings" if roles.same else "show different things"
            what = "show the same, perhaps by several observers" if alike else coded
            text = f"{len(roles.masks)} folders of masks {what}: which is the truth?"
            options = tuple(
                Option(f"masks of `{side.folder}`", (f"label_folder={side.folder}",)) for side in roles.masks
            )
            if not alike and classes.clash:
                text, options = f"{classes.clash}. {text}", (*options, *classes.options)
            found.questions.append(Question("label_folder", text, options, is_open=not alike))
            found.sure["label_folder"] = "guess"
            found.reasons["label_folder"] = (
                f"the first of {len(roles.masks)} folders of masks that {what}; the other: {names}"
            )
            found.notes.append(f"{names} is not used")
    if roles.other_images:
        names = ", ".join(f"`{name}`" for name in roles.other_images)
        found.notes.append(f"images in {names} are not used: they have no masks, or those of `{roles.image}`")


# ---- split and summary


def _state_split(found: Recognised, listing: Listing, places: Places, roles: Roles, names: Sequence[str]) -> None:
    if not places.splits:
        side = roles.masks[0]
        with_mask = side.pairing.partners(stems(places.of_training[roles.image]), places.of_training[side.folder])
        known = [side.pairing.image.key(stem) or stem for stem in with_mask]
        if not split_of_lists(found, listing, known, by="lists"):
            draw(found, names, by="fraction", unit="image")
        return
    if "val" not in places.splits:
        here = stems(places.files["train"].get(roles.image, []))
        keys = [roles.masks[0].pairing.image.key(stem) or stem for stem in here]
        draw(found, keys, by=None, unit="image", val_only=True)


def _about(found: Recognised, count: int, places: Places) -> str:
    several = found.keys.get("channel_suffixes", [])
    colour = "" if several else {1: "grey ", 3: "colour "}.get(found.keys["num_channels"], "")
    classes = found.keys.get("classes")
    ignored = len(found.keys.get("ignore", [])) if found.keys.get("mask_format") == "rgb" else 0
    what = f"masks of {len(classes) - ignored} classes" if classes else "one mask each"
    what += ", a file for each class" if found.keys.get("class_suffixes") else ""
    splits = f" in the folders {', '.join(places.splits.values())}" if places.splits else ""
    files = f" of {len(several)} channels in files of their own" if several else ""
    return f"{count} {colour}image{'s' * (count != 1)}{files} with {what}{splits}"


def _leave_out(found: Recognised, lacking: Sequence[str], count: int, places: Places) -> int:
    """Leave out images without a mask unless lists or suffixes of splits do; returns the number of the others."""
    split = found.keys.get("split", {})
    if split.get("by") == "lists" and "train" in split:
        return count
    if places.splits and any(isinstance(found.keys.get(key), list) for key in ("image_suffix", "label_suffix")):
        return count  # each split has a suffix of its own
    return leave_out(found, lacking, count, "mask", by_name=not places.splits)


def _lacking(places: Places, roles: Roles) -> dict[str, str]:
    """Return the splits without masks, by folder."""
    side = roles.masks[0]
    lacking = places.lacking({roles.image, side.folder})
    for split, folder in places.splits.items():
        if split not in lacking and side.folder == roles.image and not roles.label_extensions:
            there = stems(places.files[split][side.folder])
            if not any(side.pairing.mask.key(stem) for stem in there):
                lacking[split] = folder
    return lacking


def _state_kinds(found: Recognised, roles: Roles, classes: ClassMasks) -> None:
    """State what tells masks from images in one folder, and which of several masks is proposed."""
    first, *others = roles.masks
    if roles.label_extensions:
        found.state("label_extensions", roles.label_extensions, SAME_STEM)
    if roles.unused and not first.pairing.image.suffix:
        found.state("exclude", [f"*{escape(end)}" for end in roles.unused], "other files of the same images")
    found.notes += roles.notes
    found.notes += [f"`*{end}` is not used: {count} files" for end, count in roles.unused.items()]
    if others and not classes.files:
        ends = [side.pairing.mask.suffix for side in roles.masks]
        found.questions.append(which_suffix(ends, alike=roles.same, classes=classes))
        found.sure["label_suffix"] = "guess"
