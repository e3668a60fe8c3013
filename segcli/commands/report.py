"""Collect the contents of the HTML reports of `train` and `eval`, and write them."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from segcli.core.errors import DataError, SegcliError
from segcli.core.files import shown, write_text, yaml_text
from segcli.data.samples import Case
from segcli.engine.assembly import Assembly
from segcli.engine.checkpoint import Checkpoint
from segcli.engine.events import Noting
from segcli.engine.runfolder import RunFolder
from segcli.engine.runtime import described_device
from segcli.engine.training.trainer import Trainer
from segcli.report.evaluation_page import Answers, evaluation_page
from segcli.report.results import Evaluated, Trained
from segcli.report.run_sections import RunFacts
from segcli.report.showcase import Shown, shown_again
from segcli.report.training_page import BestValidation, training_page
from segcli.report.units import units_of

__all__ = ["CASES", "REPORT", "TrainingReport", "write_evaluation_report"]

REPORT = "report.html"
CASES = 4
"""Number of pictures of worst cases, and of best cases."""


class TrainingReport:
    """Writes the report at the end of a training; a failure becomes a warning.

    Args:
        notes: Listener of the training, which keeps its warnings.
    """

    def __init__(self, notes: Noting) -> None:
        self.notes = notes
        self.written: Path | None = None

    def write(self, trainer: Trainer, trained: Trained) -> None:
        """Write the report, or warn. All other files of the run are already on the disk."""
        self.notes.stage("writing the report")
        try:
            page = self._page(trainer, trained)
            write_text(trainer.folder.report, page)
            self.written = trainer.folder.report
        except SegcliError as error:
            self.notes.warn(f"no {REPORT}: {error.message}")
        except Exception as error:
            self.notes.warn(f"no {REPORT}, because of a bug in segcli; the run is complete: {_blamed(error)}")

    def _page(self, trainer: Trainer, trained: Trained) -> str:
        folder = trainer.folder
        validation = self._validation(trainer)
        cases = trainer.val.cases.cases if trainer.val else []
        run = _facts(
            trainer.parts, trainer.history, folder, units_of(trainer.parts.metrics, trainer.parts.layout, cases)
        )
        return training_page(
            trained,
            run,
            elapsed_s=trainer.progress.elapsed_s,
            commands=_commands(trained, folder, run.environment),
            warnings=self.notes.warnings,
            validation=validation,
        )

    def _validation(self, trainer: Trainer) -> BestValidation | None:
        """Collect confusion matrix and cases of the best validation; predict the cases again for their pictures."""
        kept = trainer.best_validation
        if not kept:
            return None
        confusion, cases = kept["confusion"], _cases(trainer, kept["cases"])
        found = Shown([], [])
        try:
            if cases:
                found = shown_again(trainer.parts, trainer.folder.best, cases)
        except SegcliError as error:
            self.notes.warn(f"no pictures in {REPORT}: {error.message}")
        return BestValidation(
            ranked_by=kept["ranked_by"],
            classes=trainer.parts.task.classes,
            worst=found.worst,
            best=found.best,
            confusion=None if confusion is None else np.array(confusion),
        )


def _cases(trainer: Trainer, names: Sequence[str]) -> list[Case]:
    """Find validation cases by name; missing ones are left out."""
    by_name = {} if trainer.val is None else {case.id: case for case in trainer.val.cases.cases}
    return [by_name[name] for name in names if name in by_name]


def _blamed(error: Exception) -> str:
    """Describe an error with the line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{place}"


def _facts(
    parts: Assembly, history: Sequence[dict[str, Any]], folder: RunFolder | None, units: dict[str, str]
) -> RunFacts:
    run, classes = parts.run, parts.task.classes
    environment = None if folder is None or not folder.environment.is_file() else folder.environment
    return RunFacts(
        dataset=run.dataset.name,
        model=run.model.type,
        parameters=sum(parameter.numel() for parameter in parts.network.parameters()),
        device=described_device(parts.device),
        config=yaml_text(run.resolved()),
        environment=None if environment is None else environment.read_text(encoding="utf-8"),
        history=history,
        colors=dict(zip(classes, parts.task.colors, strict=True)) if len(classes) > 1 else {},
        mistakes=parts.task.mistakes,
        unit=_unit(parts),
        units=units,
        is_exclusive=parts.task.target == "classes",
    )


def _unit(parts: Assembly) -> str:
    """Name the unit that has a class."""
    if not parts.task.has_pixels:
        return "images" if parts.layout.whole is None else "crops"
    return "pixels" if parts.layout.ndim == 2 else "voxels"


def _commands(trained: Trained, folder: RunFolder, environment: str | None) -> dict[str, str]:
    """List the command that was called, and commands for the next steps."""
    place, name = shown(folder.path), trained.run
    again = ["segcli", "train", shown(folder.config), f"name={name}_again", f"output.dir={place}_again"]
    called = (yaml.safe_load(environment) if environment else {}).get("command_line")
    return {
        **({"called as": shlex.join(called)} if called else {}),
        "train again": shlex.join(again),
        "train further": shlex.join(["segcli", "resume", place, f"training.epochs={2 * trained.epochs}"]),
        "scores": shlex.join(["segcli", "eval", place]),
    }


def write_evaluation_report(
    result: Evaluated,
    parts: Assembly,
    found: Shown,
    checkpoint: Checkpoint,
    *,
    folder: Path,
    command: Sequence[str],
) -> Path:
    """Write the report of an evaluation beside its tables; returns the file.

    Args:
        result: Scores.
        parts: Parts of the run that was scored.
        found: Pictures of the worst and the best cases.
        checkpoint: Checkpoint that was scored.
        folder: Folder of the checkpoint, which may not be a run folder.
        command: Command line that repeats the evaluation.

    Raises:
        DataError: The report cannot be written.
    """
    run = RunFolder(folder)
    is_run = run.holds(result.checkpoint)
    history = checkpoint.header["history"]
    if is_run and run.history.is_file():
        history = _history(run.history)
    page = evaluation_page(
        result,
        _facts(parts, history, run if is_run else None, result.units),
        command=shlex.join(command),
        worst=found.worst,
        best=found.best,
        whole=result.whole,
        answers=Answers(result.answers, result.word or "image", result.mistakes) if result.answers else None,
    )
    path = result.folder / REPORT
    write_text(path, page)
    return path


def _history(path: Path) -> Any:
    """Read the history of a run.

    Raises:
        DataError: The file is damaged.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        values = None
    if not isinstance(values, list):
        hint = "remove it: the checkpoint holds the history up to its own epoch"
        raise DataError(f"`{path}` is damaged, and the report draws its curves", hint=hint)
    return values
