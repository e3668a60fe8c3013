"""`segcli eval`."""

from pathlib import Path
from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import (
    CheckpointOpt,
    EvalThresholdOpt,
    GpusOpt,
    JsonOpt,
    ModelFileOpt,
    OutOpt,
    ProcessesOpt,
    QuietOpt,
    RunAndOverridesArg,
    TTAOpt,
    run_and_overrides,
    threshold_or_best,
)

__all__ = ["evaluate"]

SplitOpt = Annotated[
    str | None,
    typer.Option(
        "--split",
        "-s",
        metavar="train | val | test",
        help="Split to score; default: test if there is a test split, else val.",
        autocompletion=complete.splits,
        show_default=False,
    ),
]
DataOpt = Annotated[
    Path | None,
    typer.Option(
        "--data",
        "-d",
        metavar="FOLDER | FILE",
        autocompletion=complete.files,
        help="Score other data: a folder or file as the run reads it, or a data-set file.",
        show_default=False,
    ),
]


def evaluate(
    words: RunAndOverridesArg = None,
    checkpoint: CheckpointOpt = None,
    split: SplitOpt = None,
    data: DataOpt = None,
    threshold: EvalThresholdOpt = None,
    tta: TTAOpt = None,
    out: OutOpt = None,
    model_file: ModelFileOpt = None,
    gpus: GpusOpt = None,
    processes: ProcessesOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Score a trained network on one split of its data set.

    Tables, masks and report.html are written to outputs/tests.

    Example: segcli eval exp --split test --json
    """
    from segcli.cli import console
    from segcli.cli.launch import Team
    from segcli.commands.locate import locate_run

    name, overrides = run_and_overrides(words)
    chosen = threshold_or_best(threshold)
    located = locate_run(name, checkpoint)
    team = Team(gpus, processes)
    device = team.device_instead()
    if team.is_parent:
        team.start()
        return

    from segcli.commands.evaluate import evaluate_run
    from segcli.commands.next_steps import after_eval
    from segcli.report import score_tables as tables

    with team.world(device or "auto") as world, console.listener(quiet=quiet or as_json) as listener:
        console.took(located, listener)
        done = evaluate_run(
            located,
            split=split,
            overrides=overrides,
            threshold=chosen,
            tta=tta,
            data=data,
            out=out,
            model_files=model_file or [],
            listener=listener,
            device=device,
            world=world,
        )
    if done is None:
        return
    console.result(done.as_dict(), tables.evaluated(done), as_json=as_json, quiet=quiet)
    console.next_step(after_eval(done, located, model_file or []), quiet=quiet or as_json)
