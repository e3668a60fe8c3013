"""Recognise masks of which each class has a file of its own, such as `01_MA.tif` and `01_HE.tif`."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array, Mask
from segcli.data.classes.class_files import OverlapError, joined
from segcli.data.classes.counts import values_of
from segcli.data.images import natural_key, read_marks, read_voxels
from segcli.datasets._class_files import names_of
from segcli.planning.clock import Clock
from segcli.planning.facts import Option, Question, Recognised
from segcli.planning.pairs import are_numbered, stems
from segcli.planning.roles import Roles
from segcli.planning.surveys import spread

__all__ = ["ClassMasks", "Kinds", "class_masks", "class_of_picture", "class_of_volume", "classes_in_places"]

SURVEY_S = 5.0
"""Processor seconds to look for pixels of two classes."""
ENOUGH = 8
"""Files of a case that are read whatever the time is; then more only until two of them mark something."""
HALF = 0.5
"""A mask of a larger share of the pixels may be that of the background."""
Kinds = Mapping[str, Mapping[str, Path]]
"""Masks by the end of their names, then by case."""


@dataclass(frozen=True)
class ClassMasks:
    """Holds the masks of each class; none if a mask is one file."""

    files: Kinds = field(default_factory=dict)
    reason: str = ""
    """Reason to take each file for a class."""
    folder: str | None = None
    """Folder of the folders of the classes; None if files of one folder are told by their names."""
    clash: str = ""
    """Reason to ask a person whether they are classes, such as files that mark the same pixels; empty for none."""
    ends: tuple[str, ...] = ()
    """Ends of the names of these masks."""

    @property
    def every(self) -> list[Path]:
        """Return the files of all classes."""
        return list(chain.from_iterable(each.values() for each in self.files.values()))

    @property
    def first(self) -> dict[str, Path]:
        """Return a file of each case."""
        return {case: path for each in reversed([*self.files.values()]) for case, path in each.items()}

    def state_in(self, found: Recognised, *, background: bool) -> None:
        """State the suffixes and the classes in the place of `label_suffix`, and ask what a missing file means.

        Args:
            found: Gets the keys.
            background: The background is the first class.
        """
        found.keys.pop("label_suffix", None)
        found.sure.pop("label_suffix", None)
        found.state("class_suffixes", list(self.files), self.reason or None, "likely" if self.reason else "certain")
        if len(self.files) > 1 or not background:
            names = names_of(list(self.files), background=background)
            found.state("classes", names, "from the names of the files; rename them as you like, the order counts")
        found.task = "structures" if not background else "multiclass" if len(self.files) > 1 else "binary"
        lacking = {case: end for end, each in self.files.items() for case in self.first if case not in each}
        if lacking:
            case, end = next(iter(lacking.items()))
            text = (
                f"{len(lacking)} of {len(self.first)} images lack the file of a class, such as `{case}` that of "
                f"`{end}`: do they show nothing of it?"
            )
            options = (
                Option("yes, the class is not there", ("missing_class_files=empty",)),
                Option("no, files are missing, and `data check` names them", ("missing_class_files=error",)),
            )
            found.questions.append(Question("missing_class_files", text, options, is_open=True))

    @property
    def options(self) -> tuple[Option, ...]:
        """Return the way to take all masks together although a person must decide; empty where nothing is to decide."""
        if not self.clash:
            return ()
        folder = () if self.folder is None else (f"label_folder={self.folder}",)
        given = (*folder, f"class_suffixes={json.dumps(list(self.ends), ensure_ascii=False)}", "class_overlap=last")
        return (Option("all, one class each; the last one where they overlap", given),)


def class_masks(
    kinds: Kinds, inside: Callable[[Path], Mask | None], given: Mapping[str, Any], *, name: str = "label_suffix"
) -> ClassMasks:
    """Decide whether several masks of each image are its classes: of two values each, and never on the same pixel.

    Args:
        kinds: Masks by the end of their names.
        inside: Reads where the mask of a class is; None if it holds more than one number.
        given: Keys that are known: with `name`, a mask is one file.
        name: Key of the suffix of a mask of one file.
    """
    stated = given.get("class_suffixes")
    if isinstance(stated, list) and stated and all(end in kinds for end in stated):
        return ClassMasks({end: kinds[end] for end in stated})
    ends = sorted(kinds, key=_order)
    numbered = are_numbered(ends)  # objects, or observers
    if given.get(name) or len(ends) < 2 or numbered or "" in ends:
        return ClassMasks()
    cases = list(dict.fromkeys(case for each in kinds.values() for case in each))
    clock, looked, both, part, shares = Clock(SURVEY_S), 0, 0, "", dict.fromkeys(ends, 0.0)
    for index in spread(len(cases)):
        if clock.over and looked:
            break
        there = {end: kinds[end][cases[index]] for end in ends if cases[index] in kinds[end]}
        seen = _look(there, inside, cases[index], clock)
        if seen is None or isinstance(seen, str):
            return ClassMasks(clash=seen or "", ends=tuple(ends) if seen else ())
        looked += 1
        both += sum(share > 0 for share in seen.values()) > 1
        part = f" ({len(seen)} of {len(there)} files of `{cases[index]}`)" if len(seen) < len(there) else ""
        shares = {end: share + seen.get(end, 0.0) for end, share in shares.items()}
    largest = max(ends, key=lambda end: shares[end])
    if shares[largest] > HALF * looked:
        clash = (
            f"`{_shown(largest)}` marks {shares[largest] / looked:.0%} of the pixels, as a mask of the background does"
        )
        return ClassMasks(clash=clash, ends=tuple(ends))
    words = f"all {looked} images" if looked == len(cases) else f"{looked} of {len(cases)} images"
    reason = f"a file for each class, in this order: no two of them mark the same pixel in {words}{part}"
    return ClassMasks({end: kinds[end] for end in ends}, reason) if both else ClassMasks()


def classes_in_places(roles: Roles, places: Mapping[str, list[Path]], given: Mapping[str, Any]) -> ClassMasks:
    """Decide whether several folders of masks hold a class of the images each.

    Args:
        roles: What the folders hold.
        places: Files by folder.
        given: Keys that are known: with `label_folder`, the masks lie in that.
    """
    above = {side.folder.rpartition("/")[0] for side in roles.masks}
    prefixes = {side.pairing.mask.prefix for side in roles.masks}
    firsts = {side.pairing.image for side in roles.masks}
    if len(roles.masks) < 2 or len(above) > 1 or len(prefixes) > 1 or len(firsts) > 1:
        return ClassMasks()
    kinds = {}
    for side in roles.masks:
        files = zip(stems(places[side.folder]), places[side.folder], strict=True)
        mine = {key: path for stem, path in files if (key := side.pairing.mask.key(stem)) is not None}
        kinds[f"{side.folder.rpartition('/')[2]}/{side.pairing.mask.suffix}"] = mine
    found = class_masks(kinds, class_of_picture, given, name="label_folder")
    return replace(found, folder=above.pop() or ".")


def _look(
    files: Mapping[str, Path], inside: Callable[[Path], Mask | None], case: str, clock: Clock
) -> dict[str, float] | str | None:
    """Return the share of the pixels that each mask of a case marks; of the first ones if the time is over.

    Returns:
        A sentence if two of them mark the same pixels; None if one cannot be that of a class, or sizes differ.
    """
    shares: dict[str, float] = {}

    def masks() -> Iterator[tuple[Path, Mask]]:
        size: tuple[int, ...] | None = None
        for end, path in files.items():
            if clock.over and len(shares) >= ENOUGH and sum(share > 0 for share in shares.values()) > 1:
                return
            mask = inside(path)
            if mask is None or mask.shape != (size or mask.shape):
                raise DataError(f"`{path}` is not the mask of a class, or of another size")
            size = mask.shape
            shares[end] = float(mask.mean())
            yield path, mask

    try:
        joined(masks(), len(files), "error")
    except OverlapError as error:
        first, second = (_shown(end) for file in error.files for end, path in files.items() if path == file)
        share = f"{error.share:.2%} of the smaller"
        return f"`{first}` and `{second}` of `{case}` both mark {error.count:,} pixels, {share}"
    except DataError:
        return None
    return shares


def class_of_picture(path: Path) -> Mask | None:
    """Read where the picture of a class is not zero; None if it holds more than one number, or JPEG changed it."""
    marks = read_marks(path)
    return None if marks.loss is not None else _of_one_number(marks.spread)


def class_of_volume(path: Path) -> Mask | None:
    """Read where the volume of a class is not zero; None if it holds more than one number."""
    return _of_one_number(read_voxels(path, labels=True)[..., 0])


def _of_one_number(numbers: Array) -> Mask | None:
    inside: Mask = numbers != 0
    values, _ = values_of(numbers.astype(np.uint8) if numbers.dtype == bool else numbers.reshape(len(numbers), -1))
    return inside if np.count_nonzero(values) < 2 and values[0] >= 0 else None


def _order(end: str) -> list[str | int]:
    return natural_key(Path(end.replace("/", " ") or "_"))


def _shown(end: str) -> str:
    return end if "/" in end else f"*{end}"
