"""The split that `segcli eval` scores, and the blame for a split that is not there: the config, or data that moved."""

from pathlib import Path

from segcli.commands.other_data import is_description
from segcli.core.errors import ConfigError, DataError
from segcli.datasets import SPLITS, Layout
from segcli.engine.events import Listener

__all__ = ["choose_split", "refuse_without"]


def choose_split(layout: Layout, split: str | None, data: Path | None, listener: Listener) -> str:
    """Choose the split, and refuse one that does not exist.

    Args:
        layout: Layout of the data.
        split: Split as typed; None takes the test split if there is one, else the validation split.
        data: Other data, all of which are the test split.
        listener: Receives the choice.

    Raises:
        ConfigError: There is no such split.
        DataError: The folder of the data set does not exist.
    """
    if data is not None and not is_description(data):
        if split not in (None, "test"):
            raise ConfigError(
                f"`--split {split}` and `--data {data}` exclude each other: all cases there become split `test`",
                hint="leave `--split` out",
            )
        return "test"
    chosen = split or ("test" if layout.has("test") else "val")
    if chosen not in SPLITS:
        raise ConfigError(f"unknown split `{split}`", hint=f"one of {', '.join(SPLITS)}")
    refuse_without(layout, chosen, f"split `{chosen}`", "choose another one with `--split`")
    if split is None:
        listener.notice(f"split: {chosen}")
    return chosen


def refuse_without(layout: Layout, split: str, what: str, hint: str) -> None:
    """Refuse data without a split.

    Args:
        layout: Layout of the data.
        split: Name of the split.
        what: Split and its purpose, in words.
        hint: Advice where the data set never had the split.

    Raises:
        DataError: The folder of the data set does not exist, so that nobody knows its splits.
        ConfigError: The data set has no such split.
    """
    if layout.has(split):
        return
    if not layout.root.exists():
        raise layout.missing_root() or DataError(
            f"no folder `{layout.root}` with data set `{layout.spec.name}`", hint="set `dataset.paths.root`"
        )
    raise ConfigError(f"data set `{layout.spec.name}` has no {what}", hint=hint)
