"""Recognise frames of videos: two folders that hold the same folders, one of images and one of masks."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.paths import escaped
from segcli.data.images import natural_key
from segcli.planning.channels import state_channels
from segcli.planning.classes import classes_of
from segcli.planning.clock import Clock
from segcli.planning.facts import Recognised
from segcli.planning.listing import Listing
from segcli.planning.lists import split_of_lists
from segcli.planning.looks import look_at
from segcli.planning.pairs import stems
from segcli.planning.sides import are_kinds, drawn_share, side_of_name
from segcli.planning.surveys import survey

__all__ = ["sequences"]

ALIKE = 0.8
"""Smallest share of the folders of one side that the other side has too."""
SURVEY_S = 8.0
"""Processor seconds to read masks."""


def sequences(listing: Listing, given: Mapping[str, Any], name: str) -> Recognised | None:
    """Recognise sequences of frames; None if there are no two folders with the same folders in them.

    A few folders that are named after kinds of images are no sequences.

    Raises:
        DataError: The masks hold too many colours.
    """
    pair = _sides(listing)
    if pair is None:
        return None
    images, masks = (listing.below(side).pictures for side in pair)
    common = sorted((clip for clip in images if clip in masks), key=lambda clip: natural_key(Path(clip)))
    if are_kinds(common) and given.get("format") is None:
        return None
    found = Recognised(listing.root, name, "", {}, "multiclass")
    found.state("format", "sequences")
    found.state("paths.root", escaped(listing.root.absolute()))
    found.state("images", pair[0], f"{len(common)} folders of the same names in both: a sequence of frames each")
    found.state("labels", pair[1])
    lacking = [clip for clip in images if clip not in masks]
    if lacking:
        found.state("exclude", lacking, "sequences without masks")
    frames = [f"{clip}/{stem}" for clip in common for stem in stems(images[clip])]
    files = [file for clip in common for file in masks[clip]]
    coloured = look_at(files).kind == "colours"
    marks = survey(files, coloured=coloured, clock=Clock(SURVEY_S))
    classes = classes_of(marks, listing.tables, given, always_many=True)
    classes.state_in(found)
    found.notes += marks.broken[:3]
    state_channels(found, [file for clip in common for file in images[clip]])
    _state_split(found, listing, common, frames)
    ignored = len(found.keys.get("ignore", [])) if coloured else 0
    count = len(found.keys["classes"]) - ignored
    found.about = f"{len(frames)} frames in {len(common)} sequences with masks of {count} classes"
    return found


def _sides(listing: Listing) -> tuple[str, str] | None:
    """Find the folder of the images and that of the masks."""
    inside = {child: listing.below(child).pictures for child in listing.children}
    nested = {child: set(folders) - {"."} for child, folders in inside.items() if "." not in folders}
    nested = {child: names for child, names in nested.items() if names}
    for one in nested:
        for other in nested:
            shared = nested[one] & nested[other]
            if one == other or len(shared) < ALIKE * max(len(nested[other]), 1) or not shared:
                continue
            with suppress(DataError):
                first = _joined(inside[one]), _joined(inside[other])
                same = set(stems(first[0])) & set(stems(first[1]))
                if same and not look_at(first[0]).is_mask and look_at(first[1]).is_mask:
                    return one, other
    return None


def _joined(folders: Mapping[str, list[Path]]) -> list[Path]:
    return [file for files in folders.values() for file in files]


def _state_split(found: Recognised, listing: Listing, clips: list[str], frames: list[str]) -> None:
    """State the sequences of each split: named after it, listed, or drawn as whole sequences."""
    named = {side: clip for clip in clips if (side := side_of_name(clip)) is not None}
    if "train" in named and len(named) == len(clips) > 1:
        for side, clip in named.items():
            found.state(f"split.{side}", [clip], "named after its split")
        return
    if split_of_lists(found, listing, clips, by=None) or split_of_lists(found, listing, frames, by="frame"):
        return
    if len(clips) == 1:
        found.state("split.by", "frame", "one sequence cannot be divided; scores of its frames are too good", "guess")
        found.state("split.val", 0.2)
        return
    val, test = drawn_share(len(clips))
    found.state(
        "split.val", min(val, 0.2), "shares of the frames, in whole sequences: neighbouring frames look alike", "likely"
    )
    if test:
        found.state("split.test", test)
