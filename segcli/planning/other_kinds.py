"""Find files that lie beside those that are used and belong to the same images: other masks, and other channels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

from segcli.core.names import composed
from segcli.datasets._channel_files import case_of
from segcli.files import stem_of
from segcli.planning.alike import are_alike
from segcli.planning.channel_files import Channels, channels_among, way_to_channels
from segcli.planning.class_files import ClassMasks, class_masks, class_of_picture
from segcli.planning.facts import Recognised
from segcli.planning.pairs import Affix, Pairing
from segcli.planning.roles import foreground_of
from segcli.planning.starred import which_suffix

__all__ = ["OtherKinds", "tell_other_kinds"]

NEARLY_ALL = 0.8
"""Smallest share of the images that have a file of another kind."""
RARE = 0.05
"""Smallest share of the images that have a file of a class, where others have the files of other classes."""


@dataclass(frozen=True)
class OtherKinds:
    """Says which files belong to images with masks."""

    pairing: Pairing
    """The first file of each image, and the masks of the stated suffix, if there are such."""
    channels: Channels
    further: frozenset[Path]
    """Files of images beside the first: further channels, and what is not used."""
    classes: ClassMasks = field(default_factory=ClassMasks)
    """Masks of each class, if each has a file."""


def tell_other_kinds(
    found: Recognised, pairing: Pairing, images: Sequence[Path], masks: Sequence[Path], given: Mapping[str, Any]
) -> OtherKinds:
    """Ask which of several masks of each image is meant, and find channels in files of their own.

    Args:
        found: Gets the question and the notes.
        pairing: Says which files are used.
        images: All files in the folder of the images.
        masks: All files in the folder of the masks.
        given: Keys that are known.
    """
    used = {key for file in masks if (key := pairing.mask.key(composed(stem_of(file)))) is not None}
    first = pairing.image
    ends = [first.suffix, *_others(images, first, used)]
    mine = {end: _of(images, Affix(first.prefix, end), used) for end in ends}
    channels = channels_among(mine, given)
    if not channels.files:
        found.notes += way_to_channels(ends)
    affixes = [Affix(first.prefix, end) for end in ends[1:]]
    names = {file: composed(stem_of(file)) for file in images}
    further = frozenset(
        file
        for file, name in names.items()
        if first.key(name) not in used and any(each.key(name) is not None for each in affixes)
    )
    if len(ends) > 1 and not channels.files and not first.suffix:
        found.state("exclude", [f"*{escape(end)}" for end in ends[1:]], "other files of the same images")
    kinds = {pairing.mask.suffix: _of(masks, pairing.mask, used)}
    others = _others(masks, pairing.mask, used)
    kinds |= {end: _of(masks, Affix(pairing.mask.prefix, end), used) for end in others}
    classes = class_masks(_with_rare(kinds, masks, pairing, images), class_of_picture, given)
    if classes.files:
        return OtherKinds(pairing, channels, further, classes)
    chosen = next((end for end in others if end == given.get("label_suffix")), pairing.mask.suffix)
    if others:
        alike = are_alike(list(kinds.values()), foreground_of)
        found.questions.append(which_suffix(list(kinds), alike=alike, classes=classes))
        found.sure["label_suffix"] = "guess"
        found.notes += [f"`*{end}` is not used" for end in kinds if end != chosen]
    return OtherKinds(Pairing(first, Affix(pairing.mask.prefix, chosen), len(kinds[chosen])), channels, further)


def _with_rare(
    kinds: Mapping[str, Mapping[str, Path]], masks: Sequence[Path], pairing: Pairing, images: Sequence[Path]
) -> dict[str, Mapping[str, Path]]:
    """Add the kinds of masks that few images have, as of a class that is seldom there."""
    cases = {key for file in images if (key := pairing.image.key(composed(stem_of(file)))) is not None}
    found: dict[str, Mapping[str, Path]] = {}
    for end in dict.fromkeys((*kinds, *_others(masks, pairing.mask, cases, share=RARE, is_new=False))):
        found[end] = _of(masks, Affix(pairing.mask.prefix, end), cases)
    return found


def _others(
    files: Sequence[Path], affix: Affix, cases: set[str], *, share: float = NEARLY_ALL, is_new: bool = True
) -> list[str]:
    """Find the other ends of names that nearly all cases have.

    Args:
        files: The files.
        affix: What the names of the files that are used have beside the name of their case.
        cases: Names of the cases.
        share: Smallest share of the cases.
        is_new: Leave out the end that is used.
    """
    ends: Counter[str] = Counter()
    for file in files:
        name = composed(stem_of(file))
        is_used = is_new and affix.key(name) in cases
        case = case_of(name.removeprefix(affix.prefix), cases, before="_-. ") if not is_used else None
        if case is not None and name.startswith(affix.prefix):
            ends[name[len(affix.prefix) + len(case) :]] += 1
    return [end for end, count in ends.items() if count >= share * len(cases)]


def _of(files: Sequence[Path], affix: Affix, cases: set[str]) -> dict[str, Path]:
    """Find the files of one kind by case."""
    return {key: file for file in files if (key := affix.key(composed(stem_of(file)))) in cases and key is not None}
