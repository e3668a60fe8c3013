"""Sharing cases out to training, validation and test."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import model_validator

from segcli.core.errors import DataError
from segcli.core.files import plain, shown, write_yaml
from segcli.core.names import printable, safe_name
from segcli.core.randomness import generator
from segcli.core.types import ConfigModel, FilePath, Share

__all__ = ["Division", "SequenceSplit", "ShareSettings", "SplitSettings", "assign", "divide", "group_of", "stratified"]

SIDES = ("train", "val", "test")
SPLIT_FILE = "split.yaml"
"""Where a drawn split is kept, in the root of the data set."""


class ShareSettings(ConfigModel):
    """What every way to split has in common: names, shares, and where a drawn split is kept."""

    train: FilePath | list[str] | None = None
    """Names for training, or a text file with one per line; the others when left out."""
    val: FilePath | Share | list[str] | None = None
    """Names for validation, a text file with them, or a share that is drawn."""
    test: FilePath | Share | list[str] | None = None
    """Names for the test, a text file with them, or a share that is drawn."""
    seed: int = 0
    """Draws the shares; not the seed of the training, so that runs share a split."""
    group: str | None = None
    """Regular expression; names whose first group (or whole match) is equal stay on one side, as both eyes of a
    person: `Image_(\\d+)`."""
    split_file: FilePath | None = None
    """File that keeps a drawn split, within `root`; `split.yaml` when left out. `segcli data split` writes it; where it
    is there, it is the split."""
    force_resplit: bool = False
    """Draw the split anew, whatever the split file says."""

    @property
    def unit(self) -> str:
        """What is shared out, in a word."""
        return "image"

    @model_validator(mode="after")
    def _can_be_drawn(self) -> "ShareSettings":
        if self.share("val") + self.share("test") >= 1.0:
            raise ValueError("`val` and `test` together leave nothing for training")
        if self.draws and self.train is not None:
            raise ValueError("`train` lists names and a share of the others is drawn: leave `train` out, or list all")
        lists = any(isinstance(getattr(self, split), Path | list) for split in SIDES)
        if self.split_file is not None and lists and not self.draws:
            raise ValueError("`split_file` keeps a split that is drawn, and here all names are listed")
        parts = [] if self.split_file is None else [part.lstrip(".") for part in self.split_file.parts]
        if any(part != safe_name(part) for part in parts):
            raise ValueError(f"`split_file` must be a file within `root`, got `{printable(str(self.split_file))}`")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"`group` is no regular expression ({error})") from None
        return self

    @property
    def draws(self) -> bool:
        """Whether anything is left to chance."""
        return self.share("val") + self.share("test") > 0

    @property
    def has_file(self) -> bool:
        """Whether a split file may stand behind the split."""
        return self.draws or self.split_file is not None

    def share(self, split: str) -> float:
        """Share of a split that is drawn."""
        value = getattr(self, split)
        return float(value) if isinstance(value, int | float) else 0.0

    def states(self, split: str) -> bool:
        """Whether `val` or `test` is set at all."""
        value = getattr(self, split)
        return value is not None and value != 0

    def gives(self, split: str, division: "Callable[[], Division]") -> bool:
        """Whether there is such a split: named, drawn, or in the split file.

        Args:
            split: Its name.
            division: How things were shared out; asked where the split file alone can tell.
        """
        if split == "train" or self.states(split):
            return True
        return self.has_file and not self.draws and bool(division().sides[split])

    def file(self, root: Path) -> Path:
        """The split file."""
        return root / SPLIT_FILE if self.split_file is None else Path(shown(root / self.split_file))


class SplitSettings(ShareSettings):
    """Where the splits come from. A folder stated in `paths.test` or `paths.val` is that split whatever stands here."""

    by: Literal["folders", "lists", "fraction"] = "folders"
    """`folders`: one folder per split, or `val` a share of the training folder. `lists`: names, here or in text files.
    `fraction`: shares of all images, drawn by `seed`."""

    @model_validator(mode="after")
    def _fits(self) -> "SplitSettings":
        for name in ("val", "test"):
            value = getattr(self, name)
            if self.by != "lists" and isinstance(value, Path | list):
                raise ValueError(f"`{name}` is a share such as 0.2 with `by: {self.by}`, got `{value}`")
            if self.by == "lists" and isinstance(value, float | int):
                raise ValueError(f"`{name}` is a list with `by: lists`, got {value}")
        if self.by != "lists" and self.train is not None:
            raise ValueError(f"`train` lists names, which needs `by: lists`, got `by: {self.by}`")
        if self.split_file is not None and not self.draws:
            raise ValueError("`split_file` keeps shares that are drawn: set `val` or `test`")
        if self.by == "folders" and self.test is not None:
            raise ValueError("`test` is a folder with `by: folders`, set `paths.test`")
        if self.by == "lists" and self.train is None and not (self.val or self.test):
            raise ValueError("`by: lists` needs `train` (names, or a text file with one per line), `val` or `test`")
        return self


class SequenceSplit(ShareSettings):
    """How sequences of frames are shared out."""

    by: Literal["sequence", "frame"] = "sequence"
    """`sequence`: whole sequences, named by their folder. `frame`: single frames such as `Video_000/0001`, which
    flatters results, for neighbouring frames look alike."""

    @property
    def unit(self) -> str:
        """What is shared out, in a word."""
        return self.by


@dataclass(frozen=True)
class Division:
    """Names on each side, and how that came about."""

    sides: dict[str, list[str]]
    settings: ShareSettings
    file: Path
    """Split file, whether it is there or not."""
    kept: bool = False
    """Whether the names were read from it."""
    left_out: tuple[str, ...] = ()
    """Names that are there and in no split of the file."""

    @property
    def warning(self) -> tuple[str, str] | None:
        """What to tell of names that are in no split, and its mend."""
        if not self.left_out:
            return None
        count, unit = len(self.left_out), self.settings.unit
        told = f"{count} {unit}s are" if count > 1 else f"{unit} `{self.left_out[0]}` is"
        such = f", such as `{self.left_out[0]}`" if count > 1 else ""
        mend = "leave it at that, or draw the split anew with `segcli data split CONFIG`"
        return f"{told} in no split of `{shown(self.file)}`{such}", mend

    def known(self) -> dict[str, str]:
        """Split of each name as the file has it now; empty where it cannot be read."""
        try:
            values = yaml.load(self.file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return {}
        if not isinstance(values, dict):
            return {}
        lists = {split: values.get(split) for split in SIDES}
        return {name: split for split, names in lists.items() if _is_names(names) for name in names or ()}

    def write(self) -> None:
        """Write the split file.

        Raises:
            DataError: It cannot be written, or would replace another file than a split file.
        """
        if self.settings.split_file is not None and self.file.exists() and not self.known():
            raise DataError(
                f"`{shown(self.file)}` is there and is no split file", hint="give `split.split_file` another name"
            )
        comment = f"Which {self.settings.unit} is for what; runs reuse this file, `segcli data split` draws it anew."
        write_yaml(self.file, {"drawn": _drawn(self.settings), **self.sides}, comment=comment)


def divide(
    keys: list[str],
    settings: ShareSettings,
    root: Path,
    *,
    fresh: bool = False,
    stratum: Callable[[str], str] | None = None,
) -> Division:
    """Share names out to the splits: as the split file says, by lists, or by drawing what is left.

    Args:
        keys: Names of the images (or sequences), in natural order.
        settings: How.
        root: Where list files and the split file are looked up.
        fresh: Do not look at the split file.
        stratum: Name of what each split gets the same share of, such as a class.

    Raises:
        DataError: A list or the split file names what is not there, a group stands on two sides, a split gets no
            image, or the split file was drawn with other settings.
    """
    file = settings.file(root)
    if settings.has_file and not (fresh or settings.force_resplit):
        if file.exists():
            sides = _kept(keys, settings, file)
            taken = {name for names in sides.values() for name in names}
            return Division(sides, settings, file, kept=True, left_out=tuple(key for key in keys if key not in taken))
        if not settings.draws:
            raise DataError(f"no split file `{shown(file)}`", hint="set `split.val` or `split.test` to draw one")
    sides = {split: _listed(settings, split, root, keys) for split in SIDES}
    if settings.train is None:
        taken = {name for names in sides.values() for name in names}
        drawn = assign([key for key in keys if key not in taken], settings, stratum)
        sides = {split: sides[split] + drawn[split] for split in SIDES}
    _refuse_divided_groups(sides, settings)
    return Division(sides, settings, file)


# ---- the split file


def _drawn(settings: ShareSettings) -> dict[str, Any]:
    """What decides a draw."""
    keys = ("by", "train", "val", "test", "seed", "group")
    values = {key: getattr(settings, key, None) for key in keys}
    told: dict[str, Any] = plain({key: value for key, value in values.items() if value is not None})
    return told


def _kept(keys: list[str], settings: ShareSettings, file: Path) -> dict[str, list[str]]:
    """Names of the split file, each checked."""
    where = f"split file `{shown(file)}`"
    anew = "draw it anew with `segcli data split CONFIG`"
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # 0001 is a name, no number
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot read {where} ({' '.join(str(error).split())[:120]})", hint=anew) from None
    if not isinstance(values, dict) or not all(_is_names(values.get(split, [])) for split in SIDES):
        raise DataError(f"{where} has no lists of names under `train`, `val` and `test`", hint=anew)
    drawn = values.get("drawn")
    if settings.draws and isinstance(drawn, dict):
        _refuse_other_draw(drawn, settings, where)
    sides: dict[str, list[str]] = {split: values.get(split, []) for split in SIDES}
    known = set(keys)
    strangers = [name for names in sides.values() for name in names if name not in known]
    if strangers:
        more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
        raise DataError(
            f"{where} names {settings.unit} `{strangers[0]}`{more}, which is not there",
            hint=f"bring back what is missing, or {anew}",
        )
    _refuse_divided_groups(sides, settings)
    return sides


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _refuse_other_draw(drawn: dict[str, Any], settings: ShareSettings, where: str) -> None:
    wanted = yaml.load(yaml.safe_dump(_drawn(settings)), Loader=yaml.BaseLoader)
    for key in dict.fromkeys([*wanted, *drawn]):
        if wanted.get(key) != drawn.get(key):
            raise DataError(
                f"{where} was drawn with `{key}: {_told(drawn.get(key))}`, the data-set file says "
                f"`{key}: {_told(wanted.get(key))}`",
                hint="`segcli data split CONFIG` or `dataset.split.force_resplit=true` draws it anew; "
                "`dataset.split.split_file` keeps it in another file",
            )


def _told(value: Any) -> Any:
    return "null" if value is None else value


# ---- names


def _refuse_divided_groups(sides: dict[str, list[str]], settings: ShareSettings) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for split, names in sides.items():
        for name in names:
            other, other_split = seen.setdefault(group_of(name, settings), (name, split))
            if other_split != split:
                told = "is" if other == name else f"and `{other}` of the same group are"
                raise DataError(
                    f"{settings.unit} `{name}` {told} in the splits `{other_split}` and `{split}`: results would be "
                    "too good",
                    hint="mend `split` in the data-set file",
                )


def stratified(names: list[str], seed: int, stratum: Callable[[str], str] | None) -> list[str]:
    """Names in an order drawn by `seed`, of which every stretch has about the same share of each stratum.

    Example:
        >>> "".join(name[0] for name in stratified(["a1", "a2", "b1", "b2"], 0, lambda name: name[0]))
        'abab'
    """
    names = sorted(names)
    order = [names[index] for index in generator("split", seed).permutation(len(names))]
    if stratum is None:
        return order
    strata: dict[str, list[str]] = {}
    for name in order:
        strata.setdefault(stratum(name), []).append(name)
    place = {
        name: ((position + 0.5) / len(members), label)
        for label, members in strata.items()
        for position, name in enumerate(members)
    }
    return sorted(order, key=place.__getitem__)


def assign(
    keys: list[str], settings: ShareSettings, stratum: Callable[[str], str] | None = None
) -> dict[str, list[str]]:
    """Draw the splits; whole groups, each split in the order of `keys`.

    Raises:
        DataError: A split that was asked for gets no image.
    """
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(group_of(key, settings), []).append(key)
    names = list(groups)
    order = stratified(names, settings.seed, None if stratum is None else lambda name: stratum(groups[name][0]))
    counts = {split: _count(settings.share(split), len(names)) for split in ("test", "val")}
    if settings.draws and sum(counts.values()) >= len(names) and names:
        raise DataError(
            f"{len(names)} {settings.unit}s (or groups) are too few to draw {counts['val']} for validation, "
            f"{counts['test']} for test and any for training",
            hint=f"lower `split.val` and `split.test`, or add {settings.unit}s",
        )
    test, rest = order[: counts["test"]], order[counts["test"] :]
    sides = {"test": set(test), "val": set(rest[: counts["val"]]), "train": set(rest[counts["val"] :])}
    return {split: [key for key in keys if group_of(key, settings) in members] for split, members in sides.items()}


def _count(share: float, total: int) -> int:
    return max(round(share * total), 1) if share > 0 else 0


def group_of(key: str, settings: ShareSettings) -> str:
    """Name of what an image (or sequence) belongs to, by `split.group`; its own without.

    Raises:
        DataError: The name does not match.
    """
    if settings.group is None:
        return key
    match = re.search(settings.group, key)
    if match is None:
        raise DataError(
            f"{settings.unit} `{key}` does not match `split.group: {settings.group}`",
            hint="mend the regular expression",
        )
    return match.group(1) if match.groups() else match.group(0)


def _listed(settings: ShareSettings, split: str, root: Path, keys: list[str]) -> list[str]:
    """Names of a list, with or without extension, or patterns such as `Video_00*`; a text file has one per line."""
    given = getattr(settings, split)
    if not isinstance(given, Path | list):
        return []
    if isinstance(given, list):
        lines, where = given, [f"`split.{split}`"] * len(given)
    else:
        path = given if given.is_absolute() else root / given
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except OSError:
            raise DataError(
                f"no list file `{path}` for split `{split}`", hint="set `split` in the data-set file"
            ) from None
        where = [f"{path}:{number}" for number in range(1, len(lines) + 1)]
    known = set(keys)
    wanted: dict[str, None] = {}
    for line, place in zip(lines, where, strict=True):
        if not line or line.startswith("#"):
            continue
        found = _meant(line, known, keys)
        if not found:
            raise DataError(f"{place}: no {settings.unit} named `{line}` in `{root}`", hint="mend the list")
        wanted |= dict.fromkeys(found)
    return list(wanted)


def _meant(line: str, known: set[str], keys: Iterable[str]) -> list[str]:
    """Keys that a line of a list names."""
    for name in (line, re.sub(r"\.\w+$", "", line), Path(line).stem):
        if name in known:
            return [name]
    return [key for key in keys if fnmatchcase(key, line)]
