"""Find the folders of splits: images and masks lie in each of them, or in one place for all."""

import re
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcli.core.errors import ConfigError, DataError
from segcli.core.paths import expanded
from segcli.data.split_settings import SIDES
from segcli.planning.cases import hold_both
from segcli.planning.listing import Listing
from segcli.planning.looks import is_mask, look_at
from segcli.planning.sides import side_of_name

__all__ = ["Places", "places_of", "stated_places"]

KIND = re.compile(r"[a-z]{3,}([ _-][a-z]+)*")
"""Words that are no names of splits are kinds of images, such as `benign` and `malignant`."""
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Places:
    """Holds the files of each split by folder; `.` stands for the whole data set where there are no split folders."""

    splits: Mapping[str, str]
    """Folder of each split; empty if there are none."""
    files: Mapping[str, Mapping[str, list[Path]]]
    """Files by split, then by folder in the folder of the split."""
    sure: bool = True
    """False if the names of the folders say nothing about splits."""

    @property
    def is_clear(self) -> bool:
        """Tell whether one folder holds at least twice as many files as each other, as training folders do."""
        counts = sorted(sum(map(len, folders.values())) for folders in self.files.values())
        return len(counts) < 2 or counts[-1] >= 2 * counts[-2]

    @property
    def of_training(self) -> dict[str, list[Path]]:
        """Join the files of all splits by those folders that the training folder has."""
        joined: dict[str, list[Path]] = {}
        for folders in self.files.values():
            for name, files in folders.items():
                joined.setdefault(name, []).extend(files)
        wanted = next(iter(self.files.values()))
        return {name: files for name, files in joined.items() if name in wanted}

    def lacking(self, needed: set[str]) -> dict[str, str]:
        """Return the splits whose folder lacks a needed folder, such as a test without masks."""
        return {side: folder for side, folder in self.splits.items() if not needed <= self.files[side].keys()}

    def without_files(self, left_out: Container[Path]) -> "Places":
        """Leave files out."""
        files = {
            side: {name: [file for file in each if file not in left_out] for name, each in folders.items()}
            for side, folders in self.files.items()
        }
        return Places(self.splits, files, self.sure)

    def without(self, left_out: Mapping[str, str]) -> "Places":
        """Leave splits out; if training alone remains, there are no folders of splits."""
        splits = {side: folder for side, folder in self.splits.items() if side not in left_out}
        if list(splits) == ["train"]:
            return Places({}, {".": self.files["train"]})
        return Places(splits, {side: self.files[side] for side in splits}, self.sure)


def places_of(listing: Listing, given: Mapping[str, Any]) -> Places:
    """Find folders of splits: stated, named so, or alike inside with images and masks in each."""
    root = listing.root.absolute()
    stated = stated_places(given)
    inner = {side: path.relative_to(root).as_posix() for side, path in stated.items() if root in path.parents}
    if "train" in inner:
        return Places(inner, {side: _inside(listing, folder) for side, folder in inner.items()})
    inside = {child: _inside(listing, child) for child in listing.children}
    inside = {child: folders for child, folders in inside.items() if folders}
    named = {child: side for child in inside if (side := side_of_name(child)) is not None}
    distinct = len(set(named.values())) == len(named)
    if distinct and "train" in named.values() and _alike({child: inside[child] for child in named}):
        splits = {side: child for side in SIDES for child, each in named.items() if each == side}
        return Places(splits, {side: inside[child] for side, child in splits.items()})
    is_open = "." not in listing.pictures and not named and not _are_kinds(list(inside))
    if 2 <= len(inside) <= 3 and is_open and _are_splits(inside):
        counts = {child: sum(map(len, folders.values())) for child, folders in inside.items()}
        order = sorted(counts, key=lambda child: -counts[child])  # of equal ones, the first in natural order
        splits = dict(zip(SIDES, order, strict=False))
        places = Places(splits, {side: inside[child] for side, child in splits.items()}, sure=False)
        if places.is_clear:
            return places
    return Places({}, {".": listing.pictures})


def stated_places(given: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files or folders of splits that the user has stated as `paths.train` and so on.

    Raises:
        ConfigError: A path holds a variable that is not set.
    """
    stated = {side: given.get(f"paths.{side}") for side in SIDES}
    try:
        return {side: Path(expanded(path)).absolute() for side, path in stated.items() if isinstance(path, str)}
    except ValueError as error:
        raise ConfigError(f"`paths`: {error}", hint="set the variable, or name the path in full") from None


def _inside(listing: Listing, child: str) -> dict[str, list[Path]]:
    return listing.below(child).pictures


def _alike(inside: Mapping[str, Mapping[str, list[Path]]]) -> bool:
    """Tell whether folders hold images directly, or a common folder, with another one in one of them at least."""
    common = set.intersection(*(set(folders) for folders in inside.values()))
    if common == {"."} and max(map(len, inside.values())) == 1:
        return any(hold_both([folders["."]], is_mask) for folders in inside.values())
    return bool(common) and max(map(len, inside.values())) > 1


def _are_kinds(children: Sequence[str]) -> bool:
    """Tell whether folders are kinds of images, or clips that differ only in their number."""
    words = all(KIND.fullmatch(child.lower()) for child in children)
    return words or len({NUMBER.sub("#", child) for child in children}) == 1


def _are_splits(inside: Mapping[str, Mapping[str, list[Path]]]) -> bool:
    """Tell whether folders with equal folders in them each hold images and masks."""
    common = set.intersection(*(set(folders) for folders in inside.values())) - {"."}
    if len(common) < 2:
        return False
    first = next(iter(inside.values()))
    with suppress(DataError):
        return len({look_at(first[name]).is_mask for name in common}) == 2
    return False
