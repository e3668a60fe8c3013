"""Division of cases into training, validation and test."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from segcli.core.errors import DataError
from segcli.core.files import plain, shown, write_yaml
from segcli.core.names import composed, existing
from segcli.core.strict_yaml import parse_words
from segcli.core.text import read_text
from segcli.data.draws import assign, group_of
from segcli.data.split_settings import SIDES, ShareSettings

__all__ = ["Division", "divide", "named_by"]

FAR, FAR_POINTS = 0.5, 0.05
"""A split is told if it differs from its share by more than half of the share and by more than five points."""
COLUMN = re.compile(r"^[-+.\d]+$|[/.]")
"""Further column of a list: a number, or the path of a file."""


@dataclass(frozen=True)
class Division:
    """Holds the names of each split and their origin."""

    sides: dict[str, list[str]]
    settings: ShareSettings
    file: Path
    """Path of the split file, even if the file does not exist."""
    kept: bool = False
    """Tells whether the names were read from the split file."""
    left_out: tuple[str, ...] = ()
    """Names of the data set that are in no split of the file."""

    images: dict[str, int] = field(default_factory=dict)
    """Number of images of each name, where names stand for several."""

    @property
    def warnings(self) -> list[tuple[str, str, str]]:
        """List code, message and hint of probable mistakes."""
        return [
            *([("not_in_split_file", *self._strangers())] if self.left_out else []),
            *(("far_from_share", *each) for each in self._far_from_shares()),
        ]

    def _strangers(self) -> tuple[str, str]:
        count, unit = len(self.left_out), self.settings.unit
        subject = f"{count} {unit}s are" if count > 1 else f"{unit} `{self.left_out[0]}` is"
        such = f", such as `{self.left_out[0]}`" if count > 1 else ""
        hint = "ignore this if it is intended, or draw the split again with `segcli data split CONFIG`"
        return f"{subject} in no split of `{shown(self.file)}`{such}", hint

    def _far_from_shares(self) -> Iterator[tuple[str, str]]:
        """Find splits of whole groups with much more or fewer images than their share."""
        counts = {split: sum(self.images.get(name, 1) for name in names) for split, names in self.sides.items()}
        total = sum(counts.values())
        names = [name for members in self.sides.values() for name in members]
        groups = {group_of(name, self.settings) for name in names}
        if not total or len(groups) == total:
            return  # single images come as near to the shares as there are images
        for split in ("val", "test"):
            asked, got = self.settings.share(split), counts[split] / total
            if asked and abs(got - asked) > max(FAR * asked, FAR_POINTS):
                yield (
                    f"`split.{split}: {asked:g}` asks for {asked:.0%} of the images, but {got:.0%} are in `{split}` "
                    f"({counts[split]} of {total}): {len(groups)} groups are not divided",
                    "ignore this if it is intended; smaller groups or lists of names give closer shares",
                )

    def known(self) -> dict[str, str]:
        """Read the split of each name from the file; empty if the file cannot be read."""
        try:
            values = parse_words(read_text(self.file))
        except (OSError, DataError, yaml.YAMLError):
            return {}
        if not isinstance(values, dict):
            return {}
        lists = {split: values.get(split) for split in SIDES}
        return {name: split for split, names in lists.items() if _is_names(names) for name in names or ()}

    def write(self) -> None:
        """Write the split file.

        Raises:
            DataError: The file cannot be written, or would replace a file that is not a split file.
        """
        if self.settings.split_file is not None and self.file.exists() and not self.known():
            raise DataError(
                f"`{shown(self.file)}` exists and is not a split file", hint="give `split.split_file` another name"
            )
        comment = f"Which {self.settings.unit} is for what; runs reuse this file, `segcli data split` draws it again."
        write_yaml(self.file, {"drawn": _drawn(self.settings), **self.sides}, comment=comment)


def divide(
    keys: list[str],
    settings: ShareSettings,
    root: Path,
    *,
    fresh: bool = False,
    stratum: Callable[[str], str] | None = None,
    images: dict[str, int] | None = None,
    leaves_out: Callable[[str], bool] | None = None,
) -> Division:
    """Divide names into splits: by the split file, by lists, or by drawing the remaining names.

    Args:
        keys: Names of the images (or sequences), in natural order.
        settings: The `split` section.
        root: Folder of the list files and of the split file.
        fresh: Ignore the split file.
        stratum: Returns the stratum of a name, such as its class; each split gets the same share of each stratum.
        images: Number of images of each name; default: 1.
        leaves_out: Tells whether the data set has a name that its keys leave out; such names are taken from the split
            file, which stays as it is.

    Raises:
        DataError: A list or the split file names a missing image, a group is in two splits, a split gets no image, or
            the split file was drawn with other settings.
    """
    file = settings.file(root)
    if settings.has_file and not (fresh or settings.force_resplit):
        if file.exists():
            sides = _kept(keys, settings, file, leaves_out or (lambda _: False))
            taken = {name for names in sides.values() for name in names}
            left_out = tuple(key for key in keys if key not in taken)
            return Division(sides, settings, file, kept=True, left_out=left_out, images=images or {})
        if not settings.draws:
            raise DataError(f"no split file `{shown(file)}`", hint="set `split.val` or `split.test` to draw one")
    sides = {split: _listed(settings, split, root, keys) for split in SIDES}
    if settings.train is None:
        taken = {name for names in sides.values() for name in names}
        weight = None if images is None else images.__getitem__
        drawn = assign([key for key in keys if key not in taken], settings, stratum, weight)
        sides = {split: sides[split] + drawn[split] for split in SIDES}
    _refuse_divided_groups(sides, settings)
    return Division(sides, settings, file, images=images or {})


# ---- the split file


def _drawn(settings: ShareSettings) -> dict[str, Any]:
    """Return the settings that decide a random split."""
    keys = ("by", "train", "val", "test", "seed", "group")
    values = {key: getattr(settings, key, None) for key in keys}
    settled: dict[str, Any] = plain({key: value for key, value in values.items() if value is not None})
    return settled


def _kept(
    keys: list[str], settings: ShareSettings, file: Path, leaves_out: Callable[[str], bool]
) -> dict[str, list[str]]:
    """Read the names of the split file and check each name; names that the data set leaves out are dropped."""
    where = f"split file `{shown(file)}`"
    again = "draw it again with `segcli data split CONFIG`"
    try:
        values = parse_words(read_text(file))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"cannot read split file `{shown(file)}:{line}` ({error.problem})", hint=again) from None
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"cannot read {where} ({' '.join(str(error).split())[:120]})", hint=again) from None
    if not isinstance(values, dict) or not all(_is_names(values.get(split, [])) for split in SIDES):
        raise DataError(f"{where} has no lists of names under `train`, `val` and `test`", hint=again)
    drawn = values.get("drawn")
    if settings.draws and isinstance(drawn, dict):
        _refuse_other_draw(drawn, settings, where)
    known = {composed(key): key for key in keys}
    sides: dict[str, list[str]] = {
        split: [known.get(composed(name), name) for name in values.get(split, [])] for split in SIDES
    }
    others = [name for names in sides.values() for name in names if composed(name) not in known]
    strangers = [name for name in others if not leaves_out(composed(name))]
    if strangers:
        more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
        raise DataError(
            f"{where} names {settings.unit} `{strangers[0]}`{more}, which is missing in the data set",
            hint=f"restore the missing files, or {again}",
        )
    sides = {split: [name for name in names if name not in others] for split, names in sides.items()}
    _refuse_divided_groups(sides, settings)
    return sides


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _refuse_other_draw(drawn: dict[str, Any], settings: ShareSettings, where: str) -> None:
    current = parse_words(yaml.safe_dump(_drawn(settings)))
    for key in dict.fromkeys([*current, *drawn]):
        if current.get(key) != drawn.get(key):
            raise DataError(
                f"{where} was drawn with `{key}: {_shown(drawn.get(key))}`, but the data-set file says "
                f"`{key}: {_shown(current.get(key))}`",
                hint="`segcli data split CONFIG` or `dataset.split.force_resplit=true` draws it again; "
                "`dataset.split.split_file` stores the new split in another file",
            )


def _shown(value: Any) -> Any:
    return "null" if value is None else value


# ---- names


def _refuse_divided_groups(sides: dict[str, list[str]], settings: ShareSettings) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for split, names in sides.items():
        for name in names:
            other, other_split = seen.setdefault(group_of(name, settings), (name, split))
            if other_split != split:
                verb = "is" if other == name else f"and `{other}` of the same group are"
                raise DataError(
                    f"{settings.unit} `{name}` {verb} in the splits `{other_split}` and `{split}`: results would be "
                    "too good",
                    hint="correct `split` in the data-set file",
                )


def _listed(settings: ShareSettings, split: str, root: Path, keys: list[str]) -> list[str]:
    """Resolve a list of names (with or without extension) or patterns such as `Video_00*`; a file has one per line."""
    given = getattr(settings, split)
    if not isinstance(given, Path | list):
        return []
    if isinstance(given, list):
        lines, where = given, [f"`split.{split}`"] * len(given)
    else:
        path = given if given.is_absolute() else existing(root, str(given))
        try:
            lines = [line.strip() for line in read_text(path).splitlines()]
        except OSError:
            raise DataError(
                f"no list file `{path}` for split `{split}`", hint="set `split` in the data-set file"
            ) from None
        where = [f"{path}:{number}" for number in range(1, len(lines) + 1)]
    known = {composed(key): key for key in keys}
    chosen: dict[str, None] = {}
    for line, place in zip(lines, where, strict=True):
        if not line or line.startswith("#"):
            continue
        found = named_by(composed(line), known)
        if not found:
            raise DataError(f"{place}: no {settings.unit} named `{line}` in `{root}`", hint="correct the list")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def named_by(line: str, known: Mapping[str, str]) -> list[str]:
    """Find the keys that a line of a list names: by a name, a path, a pattern, or the first of several columns.

    The last folder or the file of a path is enough if no other key has it.

    Args:
        line: A name or a pattern, in normal form.
        known: Keys by their normal form.

    Example:
        >>> known = {"cat_1": "cat_1", "train/cat_2": "train/cat_2"}
        >>> named_by("images/cat_1.jpg masks/cat_1.png", known), named_by("cat_1 1 1 1", known)
        (['cat_1'], ['cat_1'])
        >>> named_by("./images/train/cat_2.nii.gz", known), named_by("train/*", known)
        (['train/cat_2'], ['train/cat_2'])
    """
    first, *others = re.split(r"[\s,;]+", line)
    for text in (line, first) if others and all(COLUMN.search(each) for each in others) else (line,):
        for name in _forms(text):
            if name in known:
                return [known[name]]
    has_wildcards = any(letter in "*?[" for letter in line)
    fitting = [key for name, key in known.items() if fnmatchcase(name, line)] if has_wildcards else []
    below = [key for name, key in known.items() if name.endswith(f"/{line}")] if not fitting else []
    return below if len(below) == 1 else fitting


def _forms(text: str) -> Iterator[str]:
    """List what a line may name: itself, without its extension, and without the first folders of its path."""
    for name in (text, re.sub(r"\.\w+$", "", text), re.sub(r"\.nii\.gz$", "", text)):
        parts = name.split("/")
        yield from ("/".join(parts[start:]) for start in range(len(parts)))
