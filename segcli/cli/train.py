"""`segcli train` and `segcli resume`."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import (
    GpusOpt,
    JsonOpt,
    MinutesOpt,
    ModelFileOpt,
    OverridesArg,
    OverwriteOpt,
    PlanVramOpt,
    ProcessesOpt,
    QuietOpt,
    RestartsOpt,
    RunAndOverridesArg,
    TrainArg,
    YesOpt,
    run_and_overrides,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from segcli.cli.launch import Team
    from segcli.config.schema import Run
    from segcli.report.results import CrossValidated, Trained

__all__ = ["resume", "train"]

DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Check everything and run two steps; write nothing.")]
FoldsOpt = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="K",
        min=2,
        help="Cross-validate: train this number of runs; reports mean ± sd.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
FoldOpt = Annotated[
    int | None,
    typer.Option(
        "--fold",
        metavar="I",
        min=1,
        help="With --folds: train only this fold, from 1 to K, or continue it.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
ForceOpt = Annotated[
    bool, typer.Option("--force", help="With --dry-run: try even if the forecast does not fit the GPU.")
]


def train(
    config: TrainArg,
    overrides: OverridesArg = None,
    minutes: MinutesOpt = None,
    vram: PlanVramOpt = None,
    yes: YesOpt = False,
    dry_run: DryRunOpt = False,
    folds: FoldsOpt = None,
    fold: FoldOpt = None,
    force: ForceOpt = False,
    overwrite: OverwriteOpt = False,
    gpus: GpusOpt = None,
    processes: ProcessesOpt = None,
    max_restarts: RestartsOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Train a network.

    At the end, report.html in the run folder shows curves, scores and pictures. A folder of data is looked at first, as
    `segcli init` does, and the trained network is scored.

    Example: segcli train configs/exp.yaml training.epochs=5 device=cpu
    """
    from segcli.cli import console
    from segcli.cli.launch import Team
    from segcli.cli.train_folder import is_data, train_folder

    team = Team(gpus, processes, max_restarts)
    if is_data(config):
        team.refuse_several("a folder of data", hint="`segcli init FOLDER` writes the experiment, and `train` takes it")
        options = {"dry_run": dry_run, "yes": yes, "overwrite": overwrite, "as_json": as_json, "quiet": quiet}
        train_folder(config, overrides or [], folds=folds, minutes=minutes, vram=vram, **options)
        return

    from segcli.config.load import load_run

    for option, given in (("--vram", vram), ("--yes", yes)):
        if given:
            raise typer.BadParameter(f"{option} is for a folder of data, and `{config}` is an experiment")
    if minutes is not None:
        overrides = [*(overrides or []), f"training.minutes={minutes:g}"]
    stated = load_run(config, overrides or [])
    run = team.moved(stated) if folds is not None and fold is None else team.placed(stated)
    if team.is_parent:
        team.start(resumed_by=run.folder)
        return
    console.shipped(config, quiet=quiet or as_json)
    if run.debug.profile_memory or run.debug.detailed_memory:
        _tell_memory(run, quiet=quiet or as_json)
    if dry_run:
        _rehearse(run, config, overrides or [], team, force=force, as_json=as_json, quiet=quiet)
    elif fold is not None:
        _one_fold(stated, fold, folds, team, overwrite=overwrite, as_json=as_json, quiet=quiet)
    elif folds is not None:
        _train_folds(stated, folds, team, overwrite=overwrite, as_json=as_json, quiet=quiet)
    else:
        _train_run(run, team, overwrite=overwrite, as_json=as_json, quiet=quiet)


def _rehearse(
    run: "Run", config: Path, overrides: list[str], team: "Team", *, force: bool, as_json: bool, quiet: bool
) -> None:
    from segcli.cli import console
    from segcli.commands import next_steps
    from segcli.commands.train import dry_run
    from segcli.report import tables

    with team.world(run.device) as world, console.listener(quiet=quiet or as_json) as listener:
        rehearsed = dry_run(run, force=force, listener=listener, world=world)
    console.result(rehearsed, tables.rehearsed(rehearsed), as_json=as_json, quiet=quiet)
    console.next_step(next_steps.train_again(config, overrides, run), quiet=quiet or as_json)


def _train_run(run: "Run", team: "Team", *, overwrite: bool, as_json: bool, quiet: bool) -> None:
    from segcli.cli import console
    from segcli.commands import train as command

    with team.world(run.device) as world, console.listener(quiet=quiet or as_json, resumed_by=run.folder) as listener:
        trained = command.train(run, overwrite=overwrite, listener=listener, world=world)
    _tell_trained(trained, as_json=as_json, quiet=quiet)


def _tell_trained(trained: "Trained", *, as_json: bool, quiet: bool) -> None:
    from segcli.cli import console
    from segcli.commands import next_steps
    from segcli.report import tables

    console.result(trained.as_dict(), tables.trained(trained), as_json=as_json, quiet=quiet)
    console.next_step(next_steps.after_train(trained), quiet=quiet or as_json)


def _one_fold(
    run: "Run", fold: int, folds: int | None, team: "Team", *, overwrite: bool, as_json: bool, quiet: bool
) -> None:
    from segcli.cli import console
    from segcli.commands.crossval import one_fold

    folder = run.folder / f"fold_{fold}"
    device = team.placed(run).device
    with team.world(device) as world, console.listener(quiet=quiet or as_json, resumed_by=folder) as listener:
        trained = one_fold(run, fold, folds, overwrite=overwrite, listener=listener, world=world, placed=team.placed)
    _tell_trained(trained, as_json=as_json, quiet=quiet)


def _train_folds(run: "Run", folds: int, team: "Team", *, overwrite: bool, as_json: bool, quiet: bool) -> None:
    from segcli.commands.crossval import cross_validate

    _tell_folds(
        run.folder,
        team,
        team.moved(run).device,
        lambda **shared: cross_validate(run, folds, overwrite=overwrite, placed=team.moved, **shared),
        as_json=as_json,
        quiet=quiet,
    )


def _tell_folds(
    folder: Path,
    team: "Team",
    device: str,
    work: "Callable[..., CrossValidated | None]",
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train folds, and print their scores."""
    from segcli.cli import console
    from segcli.commands import next_steps
    from segcli.report import tables

    with team.world(device) as world, console.listener(quiet=quiet or as_json, resumed_by=folder) as listener:
        validated = work(listener=listener, world=world)
    if validated is not None:
        console.result(validated.as_dict(), tables.cross_validated(validated), as_json=as_json, quiet=quiet)
        console.next_step(next_steps.after_folds(validated), quiet=quiet or as_json)


def _tell_memory(run: "Run", *, quiet: bool) -> None:
    """Print the memory forecast that the section `debug` asks for."""
    from segcli.cli import console
    from segcli.commands import profile
    from segcli.report import vram as report

    if not quiet:
        (forecast,) = profile.forecasts([run])
        note = profile.difference_of(run, forecast)
        debug = run.debug
        console.aside(report.forecast(forecast, layers=debug.detailed_memory, activations=debug.estimate_activations))
        console.aside([] if note is None else [note])


def resume(
    words: RunAndOverridesArg = None,
    model_file: ModelFileOpt = None,
    gpus: GpusOpt = None,
    processes: ProcessesOpt = None,
    max_restarts: RestartsOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Continue a run exactly where it stopped.

    Example: segcli resume exp training.epochs=40
    """
    from segcli.cli import console
    from segcli.cli.launch import Team
    from segcli.commands.locate import begun_in, locate_run
    from segcli.core.files import read_keys

    name, overrides = run_and_overrides(words)
    folds = begun_in(name)
    team = Team(gpus, processes, max_restarts)
    if folds is not None:
        _resume_folds(folds, overrides, model_file or [], team, as_json=as_json, quiet=quiet)
        return
    located = locate_run(name)
    stated = str(read_keys(located.folder / "config.yaml").get("device", "auto"))
    device = team.device(next((each.partition("=")[2] for each in overrides if each.startswith("device=")), stated))
    if team.is_parent:
        team.start(resumed_by=located.folder)
        return

    from segcli.commands import train as command

    quiet_or_json = quiet or as_json
    with team.world(device) as world, console.listener(quiet=quiet_or_json, resumed_by=located.folder) as listener:
        console.took(located, listener)
        trained = command.resume(
            located, overrides, model_files=model_file or [], listener=listener, world=world, placed=team.placed
        )
    _tell_trained(trained, as_json=as_json, quiet=quiet)


def _resume_folds(
    folder: Path, overrides: list[str], model_files: list[Path], team: "Team", *, as_json: bool, quiet: bool
) -> None:
    from segcli.core.errors import ConfigError
    from segcli.core.files import typed

    if overrides:
        single = f"segcli resume {typed(folder / 'fold_1')} {quote(overrides[0])}"
        raise ConfigError(
            f"`{overrides[0]}`: a cross-validation continues with its first settings",
            hint=f"leave it out, or resume a single fold: `{single}`",
        )
    if team.is_parent:
        team.start(resumed_by=folder)
        return

    from segcli.commands.crossval import resume_folds

    _tell_folds(
        folder,
        team,
        team.device_instead() or "auto",
        lambda **shared: resume_folds(folder, model_files=model_files, placed=team.moved, **shared),
        as_json=as_json,
        quiet=quiet,
    )
