"""Sharing cases out to training, validation and test."""

import re
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from segcli.core.errors import DataError
from segcli.core.randomness import generator
from segcli.core.types import ConfigModel, FilePath, Share

__all__ = ["SplitSettings", "assign", "divide"]


class SplitSettings(ConfigModel):
    """Where the splits come from. A folder stated in `paths.test` or `paths.val` is that split whatever stands here."""

    by: Literal["folders", "lists", "fraction"] = "folders"
    """`folders`: one folder per split. `lists`: names, here or in text files. `fraction`: drawn by `seed`."""
    train: FilePath | list[str] | None = None
    """Names of the training images, or a text file with one per line, for `by: lists`; the others when left out."""
    val: FilePath | Share | list[str] | None = None
    """Names or a text file for `by: lists`; for `by: fraction` a share of all images, for `by: folders` one of the
    training folder."""
    test: FilePath | Share | list[str] | None = None
    """Names or a text file for `by: lists`, or a share for `by: fraction`."""
    seed: int = 0
    """Draws the fractions; not the seed of the training, so that runs share a split."""
    group: str | None = None
    """Regular expression; images whose first group (or whole match) is equal stay on one side, as both eyes of a
    person: `Image_(\\d+)`."""

    @model_validator(mode="after")
    def _fits(self) -> "SplitSettings":
        for name in ("val", "test"):
            value = getattr(self, name)
            if self.by != "lists" and isinstance(value, Path | list):
                raise ValueError(f"`{name}` is a share such as 0.2 with `by: {self.by}`, got `{value}`")
            if self.by == "lists" and isinstance(value, float | int):
                raise ValueError(f"`{name}` is a list with `by: lists`, got {value}")
        if self.by == "folders" and self.test is not None:
            raise ValueError("`test` is a folder with `by: folders`, set `paths.test`")
        if self.by == "lists" and self.train is None and not (self.val or self.test):
            raise ValueError("`by: lists` needs `train` (names, or a text file with one per line), `val` or `test`")
        if self.by != "lists" and self.share("val") + self.share("test") >= 1.0:
            raise ValueError("`val` and `test` together leave nothing for training")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"`group` is no regular expression ({error})") from None
        return self

    def share(self, split: str) -> float:
        """Share of a split that is drawn."""
        value = getattr(self, split)
        return float(value) if isinstance(value, int | float) else 0.0

    def states(self, split: str) -> bool:
        """Whether `val` or `test` is set at all."""
        value = getattr(self, split)
        return value is not None and value != 0


def divide(keys: list[str], settings: SplitSettings, root: Path) -> dict[str, list[str]]:
    """Share the images of one folder out to the splits.

    Args:
        keys: Names of the images, in natural order.
        settings: How.
        root: Where list files are looked up.

    Raises:
        DataError: A list names what is not there, a group stands on two sides, or a split gets no image.
    """
    if settings.by != "lists":
        return assign(keys, settings)
    sides = {split: _listed(settings, split, root, keys) for split in ("train", "val", "test")}
    if settings.train is None:
        taken = {*sides["val"], *sides["test"]}
        sides["train"] = [key for key in keys if key not in taken]
    _refuse_divided_groups(sides, settings.group)
    return sides


def _refuse_divided_groups(sides: dict[str, list[str]], pattern: str | None) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for split, names in sides.items():
        for name in names:
            other, other_split = seen.setdefault(_group(name, pattern), (name, split))
            if other_split != split:
                told = "is" if other == name else f"and `{other}` of the same group are"
                raise DataError(
                    f"image `{name}` {told} in the splits `{other_split}` and `{split}`: results would be too good",
                    hint="mend `split` in the data-set file",
                )


def assign(keys: list[str], settings: SplitSettings) -> dict[str, list[str]]:
    """Draw the splits; whole groups, each split in the order of `keys`.

    Raises:
        DataError: A split that was asked for gets no image.
    """
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(_group(key, settings.group), []).append(key)
    names = sorted(groups)
    order = [names[index] for index in generator("split", settings.seed).permutation(len(names))]
    counts = {split: _count(settings.share(split), len(names)) for split in ("test", "val")}
    if sum(counts.values()) >= len(names) and names:
        raise DataError(
            f"{len(names)} images (or groups) are too few to draw {counts['val']} for validation, {counts['test']} "
            "for test and any for training",
            hint="lower `split.val` and `split.test`, or add images",
        )
    test, rest = order[: counts["test"]], order[counts["test"] :]
    sides = {"test": set(test), "val": set(rest[: counts["val"]]), "train": set(rest[counts["val"] :])}
    return {split: [key for key in keys if _group(key, settings.group) in members] for split, members in sides.items()}


def _count(share: float, total: int) -> int:
    return max(round(share * total), 1) if share > 0 else 0


def _group(key: str, pattern: str | None) -> str:
    if pattern is None:
        return key
    match = re.search(pattern, key)
    if match is None:
        raise DataError(f"image `{key}` does not match `split.group: {pattern}`", hint="mend the regular expression")
    return match.group(1) if match.groups() else match.group(0)


def _listed(settings: SplitSettings, split: str, root: Path, keys: list[str]) -> list[str]:
    """Names of a list, with or without extension; a text file has one per line."""
    given = getattr(settings, split)
    if given is None:
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
    wanted = []
    for line, place in zip(lines, where, strict=True):
        if not line or line.startswith("#"):
            continue
        key = line if line in known else Path(line).stem
        if key not in known:
            raise DataError(f"{place}: no image named `{line}` in `{root}`", hint="mend the list")
        wanted.append(key)
    return wanted
