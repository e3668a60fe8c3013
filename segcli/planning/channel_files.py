"""Recognise 2D images whose channels are files of their own, such as `01_DAPI.tif` and `01_GFP.tif`."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.data.images import natural_key
from segcli.files import read_header
from segcli.files._joined import unlike
from segcli.planning.facts import Recognised, Sure
from segcli.planning.looks import look_at

__all__ = ["Channels", "channels_among", "way_to_channels"]

NUMBERED = re.compile(r"_\d{4}")
"""Ends of the names of channels in the form of nnU-Net."""
LOOKED = 5
"""Cases whose files are compared."""
Kinds = Mapping[str, Mapping[str, Path]]
"""Files of the images by the end of their names, then by case."""


@dataclass(frozen=True)
class Channels:
    """Holds the files of images by channel; none if an image is one file."""

    files: Kinds

    @property
    def every(self) -> list[Path]:
        """Return the files of all channels."""
        return list(chain.from_iterable(each.values() for each in self.files.values()))

    def state_suffixes(self, found: Recognised) -> None:
        """State `channel_suffixes` in the place of `image_suffix`."""
        if self.files:
            found.keys.pop("image_suffix", None)
            sure: Sure = "certain" if all(map(NUMBERED.fullmatch, self.files)) else "likely"
            found.state(
                "channel_suffixes", list(self.files), "a file for each channel of an image, in this order", sure
            )

    def state_number(self, found: Recognised) -> None:
        """State the channels of all files together."""
        if self.files:
            found.keys.pop("color", None)
            first = [next(iter(each.values())) for each in self.files.values()]
            found.state("num_channels", sum(read_header(path, 2).channels for path in first), "those of all files")


def channels_among(kinds: Kinds, given: Mapping[str, Any]) -> Channels:
    """Decide which kinds of files are the channels of images.

    Args:
        kinds: Files by the end of their names.
        given: Keys that are known: with `image_suffix`, an image is one file.
    """
    if given.get("image_suffix"):
        return Channels({})
    stated = given.get("channel_suffixes")
    if isinstance(stated, list) and len(stated) > 1 and all(end in kinds for end in stated):
        return Channels({end: kinds[end] for end in stated})
    ends = sorted(kinds, key=lambda end: natural_key(Path(end or "_")))
    if len(kinds) > 1 and (all(map(NUMBERED.fullmatch, ends)) or _are_channels(kinds)):
        return Channels({end: kinds[end] for end in ends})
    return Channels({})


def way_to_channels(ends: Sequence[str]) -> Iterator[str]:
    """Name files that are not used, and tell how to state them if they are channels; the first end is used."""
    first, *others = ends
    for end in others:
        stated = f"channel_suffixes={json.dumps([first, end])}"
        yield f"`*{end}` is not used: if `*{first}` and `*{end}` are channels of one image, state `{stated}`"


def _are_channels(kinds: Kinds) -> bool:
    """Tell whether files are channels by their pixels: grey, of one size and one bit depth, and no masks."""
    first, *others = kinds.values()
    if "" in kinds:  # an image, and something made of it
        return False
    cases = [case for case in first if all(case in each for each in others)][:LOOKED]
    with suppress(DataError):
        return bool(cases) and all(map(_are_alike, ([each[case] for each in kinds.values()] for case in cases)))
    return False


def _are_alike(files: Sequence[Path]) -> bool:
    headers = [read_header(path, 2) for path in files]
    grey = all(header.channels == 1 for header in headers)
    pairs = zip(files[1:], headers[1:], strict=True)
    alike = all(unlike(path, header, files[0], headers[0]) is None for path, header in pairs)
    return grey and alike and not any(look_at([path]).is_mask for path in files)
