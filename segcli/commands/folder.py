"""`segcli train FOLDER`: from a folder of data to a scored network, through both files of an experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segcli.commands.evaluate import evaluate_run
from segcli.commands.init import Ask, Begun, init_data
from segcli.commands.locate import Located
from segcli.commands.profile import parse_vram
from segcli.commands.train import train
from segcli.config.load import load_run
from segcli.core.errors import ConfigError
from segcli.core.files import shown, typed
from segcli.engine.events import Listener
from segcli.engine.stopping import StopSignal
from segcli.report.results import Evaluated, Trained

__all__ = ["Words", "begin", "refuse_options", "split_overrides", "train_and_score"]


@dataclass(frozen=True)
class Words:
    """Holds overrides by what they change."""

    name: str | None
    of_data: list[str]
    of_run: list[str]


def refuse_options(folder: Path, *, dry_run: bool, folds: int | None) -> None:
    """Refuse options that are for experiment files.

    Raises:
        ConfigError: One of them is given.
    """
    given = "--dry-run" if dry_run else f"--folds {folds}" if folds is not None else None
    if given is not None:
        raise ConfigError(
            f"`{given}` is for an experiment file, and `{shown(folder)}` is a folder of data",
            hint=f"`segcli init {typed(folder)}` writes the file",
        )


def split_overrides(overrides: Sequence[str]) -> Words:
    """Part overrides into the name, those of the data set, and those of the run.

    Example:
        >>> split_overrides(["name=eyes", "dataset.label_folder=1stHO", "training.amp=off"])
        Words(name='eyes', of_data=['dataset.label_folder=1stHO'], of_run=['training.amp=off'])
    """
    names = [each.partition("=")[2] for each in overrides if each.startswith("name=")]
    of_data = [each for each in overrides if each.startswith("dataset.")]
    of_run = [each for each in overrides if not each.startswith(("name=", "dataset."))]
    return Words(names[-1] if names else None, of_data, of_run)


def begin(
    folder: Path,
    words: Words,
    *,
    ask: Ask | None,
    yes: bool,
    overwrite: bool,
    minutes: float | None,
    vram: str | None,
) -> Begun:
    """Look at the data and write both files, as `segcli init` does.

    Raises:
        SegcliError: As `init_data`.
    """
    size = None if vram is None else parse_vram(vram)
    return init_data(
        folder,
        words.name,
        words.of_data,
        ask=ask,
        yes=yes,
        overwrite=overwrite,
        minutes=minutes,
        vram=size,
        trains=True,
    )


def train_and_score(
    made: Begun, overrides: Sequence[str], *, overwrite: bool, listener: Listener
) -> tuple[Trained, Evaluated | None, Located]:
    """Train the experiment, and score it on its test split, or else on its validation split; without both, on none.

    Raises:
        SegcliError: Training or scoring fails.
        Stopped: A stop signal was received.
    """
    stop = StopSignal()
    trained = train(load_run(made.experiment, overrides), overwrite=overwrite, listener=listener, stop=stop)
    stop.raise_if_asked()  # a signal after the last batch stops the scoring
    located = Located(trained.folder)
    if not made.facts.counts.keys() & {"val", "test"}:
        return trained, None, located
    scored = evaluate_run(located, split=None, listener=listener)
    assert scored is not None  # as this process is alone
    return trained, scored, located
