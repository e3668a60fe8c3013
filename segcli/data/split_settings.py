"""Keys of `split` in a data-set file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from segcli.core.files import shown
from segcli.core.names import printable, safe_name
from segcli.core.types import ConfigModel, FilePath, Share

if TYPE_CHECKING:
    from segcli.data.splits import Division

__all__ = ["SIDES", "SequenceSplit", "ShareSettings", "SplitSettings"]

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
