"""Sharing cases out to training, validation and test."""

import re
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from segcli.core.errors import DataError
from segcli.core.randomness import generator
from segcli.core.types import ConfigModel, FilePath, Share

__all__ = ["SplitSettings", "assign", "read_list"]


class SplitSettings(ConfigModel):
    """Where the splits come from."""

    by: Literal["folders", "lists", "fraction"] = "folders"
    """`folders`: one folder per split. `lists`: text files with one name per line. `fraction`: drawn by `seed`."""
    train: FilePath | None = None
    """List file of the training images, for `by: lists`."""
    val: FilePath | Share | None = None
    """List file of the validation images, or their share for `by: fraction`."""
    test: FilePath | Share | None = None
    """List file of the test images, or their share for `by: fraction`."""
    seed: int = 0
    """Draws the fractions; not the seed of the training, so that runs share a split."""
    group: str | None = None
    """Regular expression; images whose first group (or whole match) is equal stay on one side, as both eyes of a
    person: `Image_(\\d+)`."""

    @model_validator(mode="after")
    def _fits(self) -> "SplitSettings":
        for name in ("val", "test"):
            value = getattr(self, name)
            if self.by == "fraction" and isinstance(value, Path):
                raise ValueError(f"`{name}` is a share such as 0.2 with `by: fraction`, got `{value}`")
            if self.by == "lists" and isinstance(value, float):
                raise ValueError(f"`{name}` is a list file with `by: lists`, got {value}")
        if self.by == "lists" and self.train is None:
            raise ValueError("`by: lists` needs `train`, a text file with one image name per line")
        if self.by == "fraction" and self.share("val") + self.share("test") >= 1.0:
            raise ValueError("`val` and `test` together leave nothing for training")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"`group` is no regular expression ({error})") from None
        return self

    def share(self, split: str) -> float:
        """Share of a split drawn by fraction."""
        value = getattr(self, split)
        return float(value) if isinstance(value, int | float) else 0.0

    def states(self, split: str) -> bool:
        """Whether `val` or `test` is set at all."""
        value = getattr(self, split)
        return value is not None and value != 0


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


def read_list(settings: SplitSettings, split: str, root: Path, keys: list[str]) -> list[str]:
    """Names of a list file, with or without extension, one per line.

    Raises:
        DataError: The file is missing, or names an image that is not there.
    """
    path = getattr(settings, split)
    assert path is not None
    path = path if path.is_absolute() else root / path
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        raise DataError(f"no list file `{path}` for split `{split}`", hint="set `split` in the data-set file") from None
    known = set(keys)
    wanted = []
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        key = line if line in known else Path(line).stem
        if key not in known:
            raise DataError(f"{path}:{number}: no image named `{line}` in `{root}`", hint="mend the list file")
        wanted.append(key)
    return wanted
