"""Runs and numbers as a caller names them, checked as the command line checks its options."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from segcli.commands.locate import Located, locate_run
from segcli.config.schema import Run
from segcli.core.addresses import refuse_addresses
from segcli.core.errors import ConfigError
from segcli.core.paths import expanded_arguments
from segcli.report.results import Trained

__all__ = ["AnyPath", "AnyRun", "as_path", "located", "paths", "refuse_wrong_share"]

AnyPath: TypeAlias = str | os.PathLike[str]
AnyRun: TypeAlias = str | os.PathLike[str] | Run | Trained | None
"""A run: its name, folder or checkpoint file, the loaded or trained run; None is the newest run."""


def as_path(given: AnyPath) -> Path:
    """Read a path, with `~` and `$NAME`.

    Raises:
        ConfigError: It is an address, or names a variable that is not set.
    """
    refuse_addresses([os.fspath(given)])
    return Path(*expanded_arguments([os.fspath(given)]))


def paths(given: Sequence[AnyPath]) -> list[Path]:
    """Read several paths."""
    return [as_path(each) for each in given]


def located(run: AnyRun, checkpoint: str | int | None = None) -> Located:
    """Find a run and its checkpoint.

    Raises:
        CheckpointError: The run or the checkpoint does not exist.
    """
    folder = run.folder if isinstance(run, Run | Trained) else run
    text = None if folder is None else str(as_path(folder))
    return locate_run(text, None if checkpoint is None else str(checkpoint))


def refuse_wrong_share(name: str, value: float | None) -> None:
    """Refuse a number outside 0 to 1.

    Raises:
        ConfigError: The number is outside.
    """
    if value is not None and not 0.0 <= value <= 1.0:
        raise ConfigError(f"`{name}={value}` is not a number from 0 to 1", hint="give a share, such as 0.5")
