"""Keys of `split` in a data-set file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from segcli.core.files import shown
from segcli.core.names import printable, safe_name
from segcli.core.types import ConfigModel, FilePath, Share

if TYPE_CHECKING:
    from segcli.data.splits import Division

__all__ = ["SIDES", "SequenceSplit", "ShareSettings", "SplitSettings"]

SIDES = ("train", "val", "test")
SPLIT_FILE = "split.yaml"
"""File of a drawn split, in the root of the data set."""


class ShareSettings(ConfigModel):
    """Holds the keys of every kind of split: names, shares, and the file of a drawn split."""

    other_keys: ClassVar[dict[str, str]] = dict.fromkeys(
        ("fold", "folds"), "folds are chosen on the command line: `segcli train CONFIG --folds 5`"
    )
    """What to do without keys that people look for here."""

    train: FilePath | list[str] | None = None
    """Names for training, or a text file with one name per line; default: all other names."""
    val: FilePath | Share | list[str] | None = None
    """Names for validation, a text file with one name per line, or a share to draw."""
    test: FilePath | Share | list[str] | None = None
    """Names for the test, a text file with one name per line, or a share to draw."""
    seed: int = 0
    """Seed that draws the shares; separate from the training seed, so that all runs use the same split."""
    group: str | None = None
    """Regular expression: names with the same first group (or whole match) stay in the same split, such as both eyes of
    a person with `Image_(\\d+)`."""
    split_file: FilePath | None = None
    """File of a drawn split, within `root`; default: `split.yaml`. `segcli data split` writes the file; if it exists,
    it decides the split."""
    force_resplit: bool = False
    """Draw the split again, even if the split file exists."""

    @property
    def unit(self) -> str:
        """Return the word for the units of a split."""
        return "image"

    @field_validator("train", "val", "test", mode="before")
    @classmethod
    def _names_are_text(cls, given: Any) -> Any:
        other = next((each for each in given if not isinstance(each, str)), None) if isinstance(given, list) else None
        if isinstance(other, int | float):
            raise ValueError(f"`{other}` is not text: write names in quotes, such as ['{other}']")
        return given

    @model_validator(mode="after")
    def _can_be_drawn(self) -> "ShareSettings":
        if self.share("val") + self.share("test") >= 1.0:
            raise ValueError("`val` and `test` together leave nothing for training")
        if self.draws and self.train is not None:
            raise ValueError("`train` lists names, but `val` or `test` is a share: remove `train`, or list all names")
        lists = any(isinstance(getattr(self, split), Path | list) for split in SIDES)
        if self.split_file is not None and lists and not self.draws:
            raise ValueError("`split_file` is for a drawn split, but here all names are listed")
        parts = [] if self.split_file is None else [part.lstrip(".") for part in self.split_file.parts]
        if any(part != safe_name(part) for part in parts):
            raise ValueError(f"`split_file` must be a file within `root`, got `{printable(str(self.split_file))}`")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"`group` is not a regular expression ({error})") from None
        return self

    @property
    def draws(self) -> bool:
        """Tell whether a part of the split is drawn at random."""
        return self.share("val") + self.share("test") > 0

    @property
    def has_file(self) -> bool:
        """Tell whether a split file can decide the split."""
        return self.draws or self.split_file is not None

    def share(self, split: str) -> float:
        """Return the share to draw for a split; 0 if none is drawn."""
        value = getattr(self, split)
        return float(value) if isinstance(value, int | float) else 0.0

    def states(self, split: str) -> bool:
        """Tell whether `val` or `test` is set."""
        value = getattr(self, split)
        return value is not None and value != 0

    def gives(self, split: str, division: "Callable[[], Division]") -> bool:
        """Tell whether a split exists: listed, drawn, or in the split file.

        Args:
            split: Name of the split.
            division: Returns the division; called only if the split file decides.
        """
        if split == "train" or self.states(split):
            return True
        return self.has_file and not self.draws and bool(division().sides[split])

    def file(self, root: Path) -> Path:
        """Return the path of the split file."""
        return root / SPLIT_FILE if self.split_file is None else Path(shown(root / self.split_file))


class SplitSettings(ShareSettings):
    """Sets the splits. A folder given in `paths.test` or `paths.val` is that split, whatever is set here."""

    by: Literal["folders", "lists", "fraction"] = "folders"
    """`folders`: one folder per split, or `val` as a share of the training folder. `lists`: names, here or in text
    files. `fraction`: shares of all images, drawn by `seed`."""

    @model_validator(mode="after")
    def _fits(self) -> "SplitSettings":
        lists = any(isinstance(getattr(self, name), Path | list) for name in ("val", "test"))
        for name in ("val", "test"):
            value = getattr(self, name)
            if self.by != "lists" and isinstance(value, Path | list):
                raise ValueError(f"`{name}` is a share such as 0.2 with `by: {self.by}`, got `{value}`")
            if self.by == "lists" and isinstance(value, float | int) and not lists:
                raise ValueError(f"`{name}` is a list with `by: lists`, got {value}")
        if self.by != "lists" and self.train is not None:
            raise ValueError(f"`train` lists names, which needs `by: lists`, got `by: {self.by}`")
        if self.split_file is not None and not self.draws:
            raise ValueError("`split_file` is for a drawn split: set `val` or `test` to a share")
        if self.by == "folders" and self.test is not None:
            raise ValueError("`test` is a folder with `by: folders`, set `paths.test`")
        if self.by == "lists" and self.train is None and not (self.val or self.test):
            raise ValueError("`by: lists` needs `train` (names, or a text file with one per line), `val` or `test`")
        return self


class SequenceSplit(ShareSettings):
    """Sets the split of sequences of frames."""

    by: Literal["sequence", "frame"] = "sequence"
    """`sequence`: whole sequences, named by their folder. `frame`: single frames such as `Video_000/0001`; the results
    are then too good, because neighbouring frames look alike."""

    @property
    def unit(self) -> str:
        """Return the word for the units of a split."""
        return self.by
