"""`segcli train --folds K`: train a run for each fold, and average their scores; a stopped one goes on."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from segcli.commands.locate import BEGUN, Located
from segcli.commands.places import with_own_places
from segcli.commands.shared_folds import Folds
from segcli.commands.train import resume, train
from segcli.config.load import run_from_values
from segcli.config.own_code import CodePermit, remember_code
from segcli.config.schema import Run
from segcli.core.errors import CheckpointError, ConfigError, DataError
from segcli.core.files import plain, read_keys, typed, write_yaml
from segcli.core.ranks import job, place
from segcli.data.settings import Fold
from segcli.datasets._folds import units
from segcli.engine.checkpoint import read_header
from segcli.engine.events import Listener
from segcli.engine.runfolder import RunFolder
from segcli.engine.stopping import StopSignal
from segcli.engine.training.batches import check_batches
from segcli.engine.world import World
from segcli.report.results import CrossValidated, FoldScore, Trained

__all__ = ["cross_validate", "fold_run", "one_fold", "resume_folds"]

RESULT = "cross_validation.yaml"
"""File with the scores of a cross-validation."""


def fold_run(run: Run, index: int, folds: int) -> Run:
    """Make the run of one fold, in a subfolder of the run folder."""
    name = f"fold_{index + 1}"
    dataset = run.dataset.model_copy(update={"fold": Fold(index=index, of=folds, seed=run.seed)})
    output = run.output.model_copy(update={"dir": run.folder / name})
    return run.model_copy(update={"name": f"{run.name}_{name}", "dataset": dataset, "output": output})


def cross_validate(
    run: Run,
    folds: int,
    *,
    overwrite: bool,
    listener: Listener,
    world: World | None = None,
    placed: Callable[[Run], Run] = lambda run: run,
) -> CrossValidated | None:
    """Train every fold, and write mean and standard deviation of the validation scores.

    Of a cross-validation that was stopped, finished folds are kept and a begun one is resumed.

    Args:
        run: Run of all folds.
        folds: Number of folds.
        overwrite: Replace the run in the run folder.
        listener: Receives progress and messages.
        world: Processes that share out the folds; the first one returns the scores, and the others return None.
            Default: this process alone.
        placed: Puts a run on the device of its process.

    Raises:
        ConfigError: The data set is too small, or the folder holds another run and `overwrite` is not set.
        SegcliError: The same errors as `train` and `resume`.
    """
    world = world or World.alone()
    if world.is_first:
        begun = {"folds": folds, "config": plain(run.resolved())}
        if not _was_begun_here(run.folder):
            if not overwrite and (run.folder / RESULT).exists():
                raise ConfigError(
                    f"`{run.folder}` holds a cross-validation",
                    hint="replace it with `--overwrite`, or give another `name`",
                )
            _refuse(run, begun, overwrite=overwrite)
            if overwrite:
                _clear(run.folder)
            _begin(run, begun)
    world.barrier()
    return _all_folds(run, folds, [], listener, world, placed)


def one_fold(
    run: Run,
    number: int,
    folds: int | None,
    *,
    overwrite: bool,
    listener: Listener,
    world: World | None = None,
    placed: Callable[[Run], Run] = lambda run: run,
) -> Trained:
    """Train one fold of a cross-validation, or go on with it; the last one to end writes the scores of all.

    Args:
        run: The run that is cross-validated.
        number: Fold to train, from 1 on.
        folds: Number of folds.
        overwrite: Refused, because several jobs train the folds of one folder.
        listener: Receives progress and messages.
        world: Processes that share the training of the fold; default: this one alone.
        placed: Puts a run on the devices of the processes.

    Raises:
        ConfigError: There is no such fold, or the folder holds something else.
        SegcliError: The same errors as `train` and `resume`.
    """
    if folds is None or number > folds:
        what = "is one of several" if folds is None else f"is not one of {folds} folds"
        hint = "add `--folds K`, the number of folds" if folds is None else f"give a number from 1 to {folds}"
        raise ConfigError(f"`--fold {number}` {what}", hint=hint)
    if overwrite:
        raise ConfigError(
            "`--overwrite` would also replace what other jobs train in this folder",
            hint=f"remove `{run.folder}` before the first job starts, or give another `name`",
        )
    world = world or World.alone()
    if world.is_first:
        begun = {"folds": folds, "config": plain(run.resolved())}
        _refuse(run, begun, overwrite=False)
        _begin(run, begun)
    runs = [fold_run(run, index, folds) for index in range(folds)]
    listener.notice(f"fold {number} of {folds}")
    trained = _one_fold(runs[number - 1], [], listener, placed, world)
    if world.is_first and all(_is_finished(each) for each in runs):
        _averaged(run, runs)
        listener.notice(f"all {folds} folds are trained: wrote {run.folder / RESULT}")
    return trained


def _was_begun_here(folder: Path) -> bool:
    """Tell whether this command has begun the folds, and was started again since then."""
    here = place()
    return here is not None and here.restarts > 0 and read_keys(folder / BEGUN).get("job") == job()


def _begin(run: Run, begun: dict[str, Any]) -> None:
    """Note what is begun, unless another job of it has."""
    if place() is not None:
        write_yaml(run.folder / BEGUN, {**begun, "job": job()})
    elif not (run.folder / BEGUN).exists():
        write_yaml(run.folder / BEGUN, begun)
    with suppress(DataError):  # each fold warns of it
        remember_code(run.folder, run)


def _is_finished(run: Run) -> bool:
    last = RunFolder(run.folder).last
    return last.exists() and bool(read_header(last)["progress"]["finished"])


def resume_folds(
    folder: Path,
    *,
    model_files: Sequence[Path],
    listener: Listener,
    world: World | None = None,
    placed: Callable[[Run], Run] = lambda run: run,
) -> CrossValidated | None:
    """Go on with a cross-validation that was stopped.

    Args:
        folder: Its folder, which `begun_in` found.
        model_files: Python files of the user's own code that may run.
        listener: Receives progress and messages.
        world: Processes, as for `cross_validate`.
        placed: Puts a run on the device of its process.

    Raises:
        CheckpointError: The folder does not say what was begun.
        SegcliError: The same errors as `train` and `resume`.
    """
    folds, config = _begun(folder)
    permit = CodePermit(model_files, listener.notice)
    run = with_own_places(
        run_from_values(config, source=str(folder / BEGUN), permit=permit), Located(folder), [], listener
    )
    run = run.model_copy(update={"output": run.output.model_copy(update={"dir": folder})})
    return _all_folds(run, folds, model_files, listener, world or World.alone(), placed)


def _clear(folder: Path) -> None:
    """Remove the files of an earlier cross-validation, so that none of its folds counts as finished."""
    for fold in folder.glob("fold_*"):
        with RunFolder(fold).locked():
            RunFolder(fold).clear()
    for name in (BEGUN, RESULT):
        (folder / name).unlink(missing_ok=True)


def _all_folds(
    run: Run,
    folds: int,
    model_files: Sequence[Path],
    listener: Listener,
    world: World,
    placed: Callable[[Run], Run],
) -> CrossValidated | None:
    runs = [fold_run(run, index, folds) for index in range(folds)]
    shared = Folds(world, folds, listener)
    stop = StopSignal()
    for index, told in shared.mine():
        stop.raise_if_asked()  # a signal after the last batch of a fold stops the folds that follow
        stop = StopSignal()
        _one_fold(runs[index], model_files, told, placed, stop=stop)
    shared.wait()
    world.barrier()
    return _averaged(run, runs) if world.is_first else None


def _averaged(run: Run, runs: Sequence[Run]) -> CrossValidated:
    """Average the scores of folds that are trained, and write the file with them."""
    last: list[dict[str, float]] = []
    best: list[dict[str, float]] = []
    for each in runs:
        header = read_header(RunFolder(each.folder).last)
        validated = [entry for entry in header["history"] if entry["val"]]
        last.append(validated[-1]["val"])
        best_epoch = header["early_stopping"]["best_epoch"]
        best.append(next((entry["val"] for entry in validated if entry["epoch"] == best_epoch), last[-1]))
    done = CrossValidated(
        run=run.name,
        folder=run.folder,
        folds=[each.folder for each in runs],
        last=[_score(name, last) for name in last[0]],
        best=[_score(name, best) for name in best[0]],
    )
    write_yaml(run.folder / RESULT, done.as_dict())
    return done


def _score(name: str, folds: list[dict[str, float]]) -> FoldScore:
    values = [float(fold[name]) for fold in folds]
    known = [value for value in values if not math.isnan(value)]
    spread = stdev(known) if len(known) > 1 else math.nan
    return FoldScore(name, values, mean(known) if known else math.nan, spread)


def _one_fold(
    run: Run,
    model_files: Sequence[Path],
    listener: Listener,
    placed: Callable[[Run], Run],
    world: World | None = None,
    stop: StopSignal | None = None,
) -> Trained:
    """Train a fold, or go on where it was stopped."""
    folder, world = RunFolder(run.folder), world or World.alone()
    if not world.told(folder.has_run()):
        return train(placed(run), overwrite=False, listener=listener, stop=stop, world=world)
    located = Located(folder.path)
    return resume(located, [], model_files=model_files, listener=listener, stop=stop, world=world, placed=placed)


def _refuse(run: Run, begun: dict[str, Any], *, overwrite: bool) -> None:
    """Refuse what cannot work, before the first fold is trained."""
    folds = begun["folds"]
    if not overwrite and (run.folder / BEGUN).exists():
        _refuse_another(run.folder, begun)
    elif not overwrite:
        RunFolder(run.folder).refuse_if_used()
        for index in range(folds):
            RunFolder(fold_run(run, index, folds).folder).refuse_if_used()
    count = len(units(fold_run(run, 0, folds).dataset.build()))
    if count < folds:
        raise ConfigError(
            f"{folds} folds need at least {folds} cases or groups of cases, there are {count}",
            hint=f"`--folds {count}` leaves out one at a time" if count > 1 else None,
        )
    for index in range(folds):
        each = fold_run(run, index, folds)
        layout = each.dataset.build()
        check_batches(each, layout, layout.cases("train"))


def _begun(folder: Path) -> tuple[int, dict[str, Any]]:
    """Read the number of folds and the config with which a cross-validation was begun.

    Raises:
        CheckpointError: The file is damaged.
    """
    values = read_keys(folder / BEGUN)
    folds, config = values.get("folds"), values.get("config")
    if not isinstance(folds, int) or not isinstance(config, dict):
        single = f"segcli resume {typed(folder / 'fold_1')}"
        raise CheckpointError(
            f"`{folder / BEGUN}` is damaged",
            hint=f"continue each fold, such as `{single}`, or start again with `--overwrite`",
        )
    return folds, config


def _refuse_another(folder: Path, begun: dict[str, Any]) -> None:
    """Refuse to go on with a cross-validation that was begun with other settings."""
    folds, config = _begun(folder)
    other = [key for key in begun["config"] if config.get(key) != begun["config"][key]]
    other += ["--folds"] if folds != begun["folds"] else []
    if other:
        raise ConfigError(
            f"`{folder}` holds a cross-validation that was begun with another `{'`, `'.join(other)}`",
            hint=(
                f"continue with `segcli resume {typed(folder)}`, replace it with `--overwrite`, or give another `name`"
            ),
        )
