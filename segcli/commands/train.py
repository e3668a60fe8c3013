"""`segcli train`, `segcli train --dry-run` and `segcli resume`."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from segcli.commands.locate import Located
from segcli.commands.places import with_own_places
from segcli.commands.report import TrainingReport
from segcli.commands.resuming import refuse_changes, refuse_fewer_epochs, refuse_other_data, warn_of_edited_config
from segcli.commands.same_machine import (
    set_threads_back,
    tell_of_another_machine,
    tell_of_other_keys,
)
from segcli.commands.several import chosen_checkpoint, facts, fitting_for_all, goes_on, newest_after_restart
from segcli.config.load import run_from_values
from segcli.config.own_code import UNCHANGEABLE, CodePermit, remember_code
from segcli.config.schema import Run
from segcli.core.errors import CheckpointError, DataError
from segcli.core.files import read_keys, shown, write_yaml
from segcli.core.process import command_began
from segcli.data.fingerprint import summary
from segcli.engine.events import Listener, Noting, Silent
from segcli.engine.runfolder import RunFolder
from segcli.engine.runtime import environment
from segcli.engine.stopping import StopSignal
from segcli.engine.training.clock.rehearsal import fitted_to_clock
from segcli.engine.training.reasons.refused import refuse_places
from segcli.engine.training.session import open_session
from segcli.engine.training.snapshot import Snapshot
from segcli.engine.training.trainer import Trainer
from segcli.engine.world import World
from segcli.report.results import Trained
from segcli.vram.choice import explained_by_forecast, refuse_what_cannot_fit
from segcli.vram.inputs import inputs_of
from segcli.vram.real import traced

__all__ = ["dry_run", "report_of_timing", "resume", "train"]


def train(
    run: Run,
    *,
    overwrite: bool,
    listener: Listener,
    stop: StopSignal | None = None,
    world: World | None = None,
) -> Trained:
    """Train a run from its beginning.

    Args:
        run: The run.
        overwrite: Replace the run in the run folder.
        listener: Receives progress and messages.
        stop: Asks for a stop; default: the signals of a command.
        world: Processes that share the work; default: this one alone.

    Raises:
        ConfigError: The run folder is in use, or holds a run and `overwrite` is not set.
        SegcliError: `open_session` or `Trainer.fit` fails.
    """
    began = command_began()
    world = world or World.alone()
    folder = RunFolder(run.folder)
    if goes_on(folder, world):
        return resume(Located(folder.path), [], listener=listener, stop=stop, world=world)
    listener = notes = Noting(listener)
    with ExitStack() as stack:
        stop = stack.enter_context(stop or StopSignal())
        if world.is_first:
            refuse_places(run)
            folder.refuse_if_cross_validated()
            if not overwrite:
                folder.refuse_if_used()
        made = _missing_parents(folder.path) if world.is_first else []
        if world.is_first:
            stack.enter_context(folder.locked())
        try:
            run = fitting_for_all(run, listener, world)
            trainer = open_session(run, folder, listener, stop, world=world)
            if world.is_first and overwrite:
                folder.clear()
            trainer = fitted_to_clock(trainer, began, over=report_of_timing)
            if world.is_first:
                _describe(trainer, _environment(trainer))
                _list_weights(trainer)
                _trace(trainer, listener)
            trainer.save()  # from here on the run can be resumed
        except BaseException:
            if made:
                folder.clear()
            if world.is_first:
                folder.discard_lock()
            _remove_empty(made)
            raise
        return _fitted(trainer, notes)


def _trace(trainer: Trainer, listener: Listener) -> None:
    """Write a trace of one step, if the run asks for it."""
    if trainer.run.debug.profile_training_step:
        for path in traced(trainer.run, inputs_of(trainer.run), trainer.folder.trace).files:
            listener.notice(f"wrote {shown(path)}")


def _fitted(trainer: Trainer, notes: Noting) -> Trained:
    """Train to the end and write the report."""
    report = TrainingReport(notes)
    is_first = trainer.world.is_first
    with explained_by_forecast(trainer.run):
        trainer.fit(when_over=(lambda: report.write(trainer, _trained(trainer))) if is_first else None)
    return replace(_trained(trainer), report=report.written)


def report_of_timing(trainer: Trainer) -> None:
    """Write the report of a timed rehearsal, because a training ends with one."""
    TrainingReport(Noting(Silent())).write(trainer, _trained(trainer))


def _missing_parents(path: Path) -> list[Path]:
    """List the folder and its parents that do not exist yet, the innermost first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders that are empty."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _environment(trainer: Trainer) -> dict[str, Any]:
    parts, data = trainer.parts, {split: summary(each) for split, each in trainer.dataset.items()}
    described = environment(parts.device, precision=parts.precision.name, seed=trainer.run.seed, data=data)
    return described | facts(trainer.world)


def _describe(trainer: Trainer, described: dict[str, Any]) -> None:
    folder, run = trainer.folder, trainer.run
    write_yaml(folder.config, run.resolved())
    write_yaml(folder.environment, described)
    try:
        remember_code(folder.path, run)
    except DataError as error:
        trainer.listener.warn(f"{error.message}: later commands on this run need `--model-file`")


def _list_weights(trainer: Trainer) -> None:
    """List all names of the weights that the training starts from."""
    model, fit = trainer.run.model, trainer.parts.fit
    if fit is not None:
        origin = {"file": str(model.weights), "sha256": model.weights_sha256}
        write_yaml(trainer.folder.weights, origin | fit.as_dict())


def _trained(trainer: Trainer) -> Trained:
    return Trained(
        run=trainer.run.name,
        folder=trainer.folder.path,
        epochs=trainer.progress.epoch,
        monitor=trainer.monitor.name,
        best=trainer.monitor.best,
        best_epoch=trainer.monitor.best_epoch,
        early=trainer.progress.epoch < trainer.run.training.epochs,
    )


def dry_run(run: Run, *, force: bool = False, listener: Listener, world: World | None = None) -> dict[str, Any]:
    """Check everything, train two batches and validate one image, and write nothing.

    Args:
        run: The run.
        force: Try even if the forecast does not fit the GPU.
        listener: Receives progress and messages.
        world: Processes that share the work; default: this one alone.

    Raises:
        SegcliError: The training would fail.
    """
    world = world or World.alone()
    with StopSignal() as stop:
        refuse_places(run)
        run = fitting_for_all(run, listener, world)
        refuse_what_cannot_fit(run, listener, force=force)
        trainer = open_session(run, RunFolder(run.folder), listener, stop, rehearsal=True, world=world)
        with explained_by_forecast(trainer.run):
            figures = trainer.rehearse()
        return {"run": run.name, "batches_per_epoch": len(trainer.train), **figures}


def resume(
    located: Located,
    overrides: Sequence[str],
    *,
    model_files: Sequence[Path] = (),
    listener: Listener,
    stop: StopSignal | None = None,
    world: World | None = None,
    placed: Callable[[Run], Run] = lambda run: run,
) -> Trained:
    """Continue a run exactly where it stopped.

    Args:
        located: The run.
        overrides: `KEY=VALUE` on the run's config, such as `training.epochs=40`.
        model_files: Python files of the user's own code that may run.
        listener: Receives progress and messages.
        stop: Asks for a stop; default: the signals of a command.
        world: Processes that share the work, as many as before or others; default: this one alone.
        placed: Puts the run on the devices of the processes.

    Raises:
        CheckpointError: There is no intact checkpoint, or it does not fit the run.
        ConfigError: An override changes a key that a resumed run cannot change.
        DataError: The training data changed since the run began.
    """
    world = world or World.alone()
    located = newest_after_restart(located, world, listener)
    folder = RunFolder(located.folder)
    listener = notes = Noting(listener)
    with ExitStack() as stack:
        stop = stack.enter_context(stop or StopSignal())
        if not folder.path.is_dir():
            raise CheckpointError(f"no run folder `{folder.path}`")
        _refuse_stray(located)
        if world.is_first:
            stack.enter_context(folder.locked())
        checkpoint, path = chosen_checkpoint(located, folder, listener, world)
        snapshot = Snapshot.from_checkpoint(checkpoint)
        before, run = _runs(snapshot, path, overrides, model_files, listener)
        run = _written_to(folder, placed(with_own_places(run, located, overrides, listener)))
        warn_of_edited_config(folder, snapshot, run, listener)
        listener.notice(f"resuming from `{path}`: {_place(snapshot)}")
        began = read_keys(folder.environment)
        set_threads_back(began, listener, world.size)
        trainer = open_session(run, folder, listener, stop, resumed=True, world=world)
        refuse_other_data(snapshot, trainer, moved=before.dataset != run.dataset)
        trainer.restore(snapshot)
        if trainer.progress.finished and run.training.epochs == before.training.epochs:
            # A run that was killed after its last checkpoint lacks the end of its curves, or its report.
            is_complete = world.told(world.is_first and folder.is_complete)
            done = _trained(trainer) if is_complete else _fitted(trainer, notes)
            return replace(done, done_before=True)
        trainer.progress.finished = False
        now = _environment(trainer)
        tell_of_another_machine(began, now, run.training, listener)
        tell_of_other_keys(before, trainer)
        if world.is_first:
            _describe(trainer, now | {key: began[key] for key in ("command_line", "working_folder") if key in began})
        return _fitted(trainer, notes)


def _written_to(folder: RunFolder, run: Run) -> Run:
    """Let a run write to its folder, which may have been moved."""
    if run.folder.absolute() == folder.path.absolute():
        return run
    return run.model_copy(update={"output": run.output.model_copy(update={"dir": folder.path})})


def _runs(
    snapshot: Snapshot, path: Path, overrides: Sequence[str], model_files: Sequence[Path], listener: Listener
) -> tuple[Run, Run]:
    """Return the run of a checkpoint as it was, and as it goes on.

    Raises:
        ConfigError: An override changes a key that a resumed run cannot change.
    """
    permit = CodePermit(model_files, listener.notice)
    # of the training before, only values are compared: a file that changed since then may be taken as it is
    unchanged = CodePermit(model_files, needs=UNCHANGEABLE)
    before = run_from_values(snapshot.config, source=str(path), permit=unchanged)
    run = run_from_values(snapshot.config, overrides, source=str(path), permit=permit)
    permit.refuse_unused()
    refuse_changes(before, run)
    refuse_fewer_epochs(run, snapshot)
    return before, run


def _place(snapshot: Snapshot) -> str:
    """Name the epoch, and the last one of its batches that is done; none at its beginning."""
    progress = snapshot.progress
    return f"epoch {progress.epoch + 1}" + (f", after batch {progress.batch}" if progress.batch else "")


def _refuse_stray(located: Located) -> None:
    """Refuse a checkpoint outside a run folder, because a run would be written around it."""
    if located.checkpoint is not None and located.checkpoint.absolute().parent.name != "checkpoints":
        raise CheckpointError(
            f"`{located.checkpoint}` is not in a run folder",
            hint="put it into the folder `checkpoints` of a run: `segcli resume RUN/checkpoints/FILE`",
        )
