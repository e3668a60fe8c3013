"""`segcli train --folds K`: train a run for each fold, and average their scores."""

import math
from statistics import mean, stdev

import yaml

from segcli.commands.train import train
from segcli.config.schema import Run
from segcli.core.errors import ConfigError
from segcli.core.files import write_yaml
from segcli.data.settings import Fold
from segcli.datasets._folds import units
from segcli.engine.events import Listener
from segcli.engine.runfolder import RunFolder
from segcli.engine.training.batches import check_batches
from segcli.report.results import CrossValidated, FoldScore

__all__ = ["cross_validate", "fold_run"]

RESULT = "cross_validation.yaml"


def fold_run(run: Run, index: int, folds: int) -> Run:
    """Make the run of one fold, in a subfolder of the run folder."""
    name = f"fold_{index + 1}"
    dataset = run.dataset.model_copy(update={"fold": Fold(index=index, of=folds, seed=run.seed)})
    output = run.output.model_copy(update={"dir": run.folder / name})
    return run.model_copy(update={"name": f"{run.name}_{name}", "dataset": dataset, "output": output})


def cross_validate(run: Run, folds: int, *, overwrite: bool, listener: Listener) -> CrossValidated:
    """Train every fold, and write mean and standard deviation of the validation scores.

    Raises:
        ConfigError: The data set is too small, or the folder holds a run and `overwrite` is not set.
        SegcliError: The same errors as `train`.
    """
    _refuse(run, folds, overwrite=overwrite)
    runs = [fold_run(run, index, folds) for index in range(folds)]
    last: list[dict[str, float]] = []
    best: list[dict[str, float]] = []
    for index, each in enumerate(runs):
        listener.notice(f"fold {index + 1} of {folds}")
        trained = train(each, overwrite=overwrite, listener=listener)
        history = yaml.safe_load(RunFolder(each.folder).history.read_text(encoding="utf-8"))
        validated = [entry for entry in history if entry["val"]]
        last.append(validated[-1]["val"])
        best.append(next((entry["val"] for entry in validated if entry["epoch"] == trained.best_epoch), last[-1]))
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


def _refuse(run: Run, folds: int, *, overwrite: bool) -> None:
    """Refuse what cannot work, before the first fold is trained."""
    if not overwrite and (run.folder / RESULT).exists():
        raise ConfigError(
            f"`{run.folder}` holds a cross-validation", hint="replace it with `--overwrite`, or give another `name`"
        )
    for index in range(folds):
        if not overwrite:
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
