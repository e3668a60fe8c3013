"""Find files that lie beside those that are used and belong to the same images: other masks, and other channels."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from segcli.core.names import composed
from segcli.datasets._channel_files import case_of
from segcli.files import stem_of
from segcli.planning.alike import are_alike
from segcli.planning.facts import Recognised
from segcli.planning.pairs import Affix, Pairing
from segcli.planning.roles import foreground_of
from segcli.planning.starred import which_suffix

__all__ = ["tell_other_kinds"]

NEARLY_ALL = 0.8
"""Smallest share of the images that have a file of another kind."""


def tell_other_kinds(
    found: Recognised, pairing: Pairing, images: Sequence[Path], masks: Sequence[Path], stated: object
) -> Pairing:
    """Ask which of several masks of each image is meant, and name channels in files of their own.

    Args:
        found: Gets the question and the notes.
        pairing: Says which files are used.
        images: All files in the folder of the images.
        masks: All files in the folder of the masks.
        stated: Suffix of the masks if it is known.

    Returns:
        The pairing with the masks of the stated suffix, if there are such.
    """
    used = {key for file in masks if (key := pairing.mask.key(composed(stem_of(file)))) is not None}
    for end in _others(images, pairing.image, used):
        found.notes.append(
            f"`*{end}` is not used: a 2D image has all its channels in one file; if `*{end}` and "
            f"`*{pairing.image.suffix}` are channels, write them into one TIFF file for each image"
        )
    kinds = {pairing.mask.suffix: _of(masks, pairing.mask, used)}
    others = _others(masks, pairing.mask, used)
    kinds |= {end: _of(masks, Affix(pairing.mask.prefix, end), used) for end in others}
    chosen = next((end for end in others if end == stated), pairing.mask.suffix)
    if others:
        found.questions.append(which_suffix(list(kinds), alike=are_alike(list(kinds.values()), foreground_of)))
        found.sure["label_suffix"] = "guess"
        found.notes += [f"`*{end}` is not used" for end in kinds if end != chosen]
    return Pairing(pairing.image, Affix(pairing.mask.prefix, chosen), len(kinds[chosen]))


def _others(files: Sequence[Path], affix: Affix, cases: set[str]) -> list[str]:
    """Find the other ends of names that nearly all cases have."""
    ends: Counter[str] = Counter()
    for file in files:
        name = composed(stem_of(file))
        case = case_of(name.removeprefix(affix.prefix), cases, before="_-. ") if affix.key(name) not in cases else None
        if case is not None and name.startswith(affix.prefix):
            ends[name[len(affix.prefix) + len(case) :]] += 1
    return [end for end, count in ends.items() if count >= NEARLY_ALL * len(cases)]


def _of(files: Sequence[Path], affix: Affix, cases: set[str]) -> dict[str, Path]:
    """Find the files of one kind by case."""
    return {key: file for file in files if (key := affix.key(composed(stem_of(file)))) in cases and key is not None}
