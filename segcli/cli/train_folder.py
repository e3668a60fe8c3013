"""`segcli train FOLDER`: look at the data, write both files, train, and score."""

from pathlib import Path

__all__ = ["is_data", "train_folder"]


def is_data(config: Path) -> bool:
    """Tell whether a folder of data is named, and not an experiment file, a shipped one or a run."""
    return config.is_dir() and not (config / "config.yaml").is_file()


def train_folder(
    folder: Path,
    overrides: list[str],
    *,
    folds: int | None,
    minutes: float | None,
    vram: str | None,
    dry_run: bool,
    yes: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write both files of an experiment on the data in a folder, train it and score it.

    Raises:
        ConfigError: An option is for experiment files.
        SegcliError: One of the steps fails; the files of the steps before stay.
    """
    from segcli.cli import console
    from segcli.cli.starting import end
    from segcli.commands.folder import begin, refuse_options, split_overrides, train_and_score
    from segcli.commands.next_steps import after_eval, after_train
    from segcli.report import score_tables, tables
    from segcli.report.beginning import begun

    refuse_options(folder, dry_run=dry_run, folds=folds)
    hushed = quiet or as_json
    words = split_overrides(overrides)
    ask = console.asker(quiet=hushed)
    made = begin(folder, words, ask=ask, yes=yes, overwrite=overwrite, minutes=minutes, vram=vram)
    end()
    if not hushed:
        console.aside(begun(made.as_dict()))
    with console.listener(quiet=hushed, resumed_by=made.run_folder) as listener:
        trained, scored, located = train_and_score(made, words.of_run, overwrite=overwrite, listener=listener)
    result = {"init": made.as_dict(), "train": trained.as_dict(), "eval": scored and scored.as_dict()}
    shown = [*tables.trained(trained), *(score_tables.evaluated(scored) if scored else [])]
    console.result(result, shown, as_json=as_json, quiet=quiet)
    console.next_step(after_eval(scored, located, []) if scored else after_train(trained), quiet=hushed)
