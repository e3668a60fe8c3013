"""`segcli init`: look at a folder and write both files of an experiment."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcli.commands.planning import plan_for
from segcli.config.overrides import parse_overrides
from segcli.core.errors import ConfigError
from segcli.core.files import file_above, shown, typed, write_text
from segcli.core.names import safe_name
from segcli.core.paths import EXPERIMENTS
from segcli.engine.events import Listener, Silent
from segcli.planning.clock import Clock
from segcli.planning.facts import Measures, Option, Plan, Question, Recognised
from segcli.planning.measures import measured, state_moments
from segcli.planning.recognise import recognise
from segcli.planning.writing import dataset_text, experiment_text

__all__ = ["Ask", "Begun", "init_data", "look"]

Ask = Callable[[Question], Option]
"""Asks a person."""
SECONDS = 20.0
SILENT = Silent()


@dataclass(frozen=True)
class Begun:
    """Holds what was found and written."""

    found: Recognised
    facts: Measures
    plan: Plan
    dataset: Path
    experiment: Path

    @property
    def run_folder(self) -> Path:
        """Folder of the run that the experiment file describes."""
        return EXPERIMENTS / self.found.name

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict for `--json`."""
        found = self.found
        rows = [
            {"key": key, "value": value, "reason": found.reasons.get(key, ""), "sure": found.sure.get(key, "certain")}
            for key, value in _flat(found.keys)
        ]
        return {
            "name": found.name,
            "about": found.about,
            "task": found.task,
            "dataset": self.dataset.as_posix(),
            "experiment": self.experiment.as_posix(),
            "keys": rows,
            "counts": self.facts.counts,
            "notes": [*found.notes, *self.plan.notes],
            "assumed": [_assumed(each) for each in found.questions],
            "seconds": self.facts.elapsed_s,
        }


def _assumed(question: Question) -> dict[str, str]:
    """Describe a question that nobody was asked; `other` tells how to give another answer."""
    first, *others = question.options
    other = f" (else: {', '.join('`' + ' '.join(each.given) + '`' for each in others)})" if others else ""
    return {"key": question.key, "question": question.text, "answer": first.words, "other": other}


def _flat(keys: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in keys.items():
        rows += (
            [(f"{key}.{inner}", each) for inner, each in value.items()] if isinstance(value, dict) else [(key, value)]
        )
    return rows


def init_data(
    folder: Path,
    name: str | None,
    overrides: Sequence[str] = (),
    *,
    ask: Ask | None,
    yes: bool,
    out: Path = Path("configs"),
    overwrite: bool = False,
    minutes: float | None = None,
    vram: int | None = None,
    trains: bool = False,
    listener: Listener = SILENT,
) -> Begun:
    """Recognise the data in a folder and write a data-set file and an experiment file.

    Args:
        folder: Folder of the data.
        name: Name of the data set and of the run; default: that of the folder.
        overrides: Keys of the data-set file that the user states, `KEY=VALUE`.
        ask: Asks about what the files do not say; None without a terminal: then proposals are taken, and a question
            without a likely answer is refused.
        yes: Take the proposals instead of asking.
        out: Folder whose folders `datasets` and `experiments` get the files.
        overwrite: Replace files that are there.
        minutes: Minutes that the training takes; the epochs that fit are timed on this machine.
        vram: Bytes of the GPU's memory; default: those of the GPU of this machine.
        trains: The training follows in the same command, whose minutes have begun.
        listener: Receives progress.

    Raises:
        ConfigError: A file is there already, or something is unsure and nobody can be asked.
        DataError: The folder holds no data set that can be used.
    """
    name = safe_name(name or folder.resolve().name or "data")
    dataset, experiment = out / "datasets" / f"{name}.yaml", out / "experiments" / f"{name}.yaml"
    for path in (dataset, experiment):
        _refuse_occupied(path, _other_name(folder, experiment, trains=trains), overwrite=overwrite)
    found, facts = look(folder, name, overrides, ask=ask, yes=yes)
    plan = plan_for(found, facts, minutes=minutes, vram=vram, trains=trains, listener=listener)
    write_text(dataset, dataset_text(found, dataset, Path.cwd()))
    write_text(experiment, experiment_text(plan, name, experiment, dataset))
    return Begun(found, facts, plan, dataset, experiment)


def _other_name(folder: Path, experiment: Path, *, trains: bool) -> str:
    """Say how to go on where the name is taken: with the experiment that is there, or under another name."""
    if not trains:
        return f"`segcli init {typed(folder)} OTHER_NAME`"
    there = f"`segcli train {typed(experiment)}` trains it, " if experiment.is_file() else ""
    return f"{there}`segcli train {typed(folder)} name=OTHER_NAME` begins another"


def _refuse_occupied(path: Path, other: str, *, overwrite: bool) -> None:
    """Refuse to replace a file that is there, and to write where a file or a folder stands in the way."""
    blocked = file_above(path)
    if blocked is not None:
        raise ConfigError(
            f"`{shown(blocked)}` is a file, and `{shown(path)}` cannot be written below it",
            hint="name a folder with `--out`",
        )
    if path.is_dir():
        raise ConfigError(f"`{shown(path)}` is a folder", hint=f"move it, or {other}")
    if os.path.lexists(path) and not overwrite:
        raise ConfigError(f"`{shown(path)}` exists", hint=f"{other}, or replace it with `--overwrite`")


def look(
    folder: Path, name: str, overrides: Sequence[str], *, ask: Ask | None, yes: bool
) -> tuple[Recognised, Measures]:
    """Recognise and measure the data in a folder; what is unsure is asked, taken or refused.

    Arguments and errors as of `init_data`.
    """
    clock = Clock(SECONDS)
    given = _given(overrides)
    found = recognise(folder, name, given)
    while found.questions and not yes:
        if ask is None:
            if open_ones := [each for each in found.questions if each.is_open]:
                raise _unanswered(open_ones)
            break
        answer = ask(found.questions[0])
        given |= _given(answer.given)
        found = recognise(folder, name, given)
    facts = measured(found, clock)
    state_moments(found, facts)
    return found, facts


def _given(overrides: Sequence[str]) -> dict[str, Any]:
    return {".".join(each.keys[1:]): each.value for each in parse_overrides(overrides, below="dataset")}


def _unanswered(questions: Sequence[Question]) -> ConfigError:
    """Refuse to guess; the message holds the questions and the hint their answers."""
    several = len(questions) > 1
    answers = [
        (f"{each.text} " if several else "")
        + " or ".join(f"`{' '.join(option.given)}` ({option.words})" for option in each.options)
        for each in questions
    ]
    what = f"{len(questions)} questions are open" if several else questions[0].text
    first = "the first of each" if several else "the first"
    return ConfigError(what, hint=f"answer with {'; '.join(answers)}; `--yes` takes {first}")
