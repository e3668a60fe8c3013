"""Table of contents of the command line.

Nothing heavy is imported here: `--help` and completion answer at once. A command loads the config first and PyTorch
second, so that a mistake in a file is told before anything slow begins.
"""

from pathlib import Path
from typing import Annotated

import typer

from segcli import __version__
from segcli.cli import complete
from segcli.cli.options import (
    ConfigArg,
    EvalThresholdOpt,
    JsonOpt,
    OutOpt,
    OverridesArg,
    OverwriteOpt,
    QuietOpt,
    RunAndOverridesArg,
    RunOpt,
    ThresholdOpt,
    TTAOpt,
    run_and_overrides,
    threshold_or_best,
)

__all__ = ["app"]

app = typer.Typer(
    name="segcli",
    help="Train, check, evaluate and run segmentation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Look at, check and make data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

SplitOpt = Annotated[
    str | None,
    typer.Option(
        "--split",
        "-s",
        help="train, val or test; the test split where there is one when left out.",
        autocompletion=complete.splits,
        show_default=False,
    ),
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"segcli {__version__}")
        raise typer.Exit


def _completion(shell: str | None) -> None:
    if shell is None:
        return
    from segcli.cli.completion_scripts import SCRIPTS

    if shell not in SCRIPTS:
        raise typer.BadParameter(f"no completion for `{shell}`: one of {', '.join(SCRIPTS)}")
    typer.echo(SCRIPTS[shell], nl=False)
    raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    completion: Annotated[
        str | None,
        typer.Option(
            "--completion",
            metavar="SHELL",
            callback=_completion,
            is_eager=True,
            help="Print the completion script for bash, zsh or fish.",
            autocompletion=complete.shells,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train, check, evaluate and run segmentation models."""


@data_app.command("check")
def data_check(
    config: ConfigArg, overrides: OverridesArg = None, as_json: JsonOpt = False, quiet: QuietOpt = False
) -> None:
    """Find what would spoil a training, before it starts.

    Leaves with exit code 1 when there are errors.

    Example: segcli data check configs/exp.yaml
    """
    from segcli.cli import console
    from segcli.config.load import load_dataset

    dataset = load_dataset(config, overrides or [], whole_run=True)

    from segcli.commands.data import check_data
    from segcli.report import tables

    with console.listener(quiet=quiet or as_json) as listener:
        checked = check_data(dataset, listener=listener)
    console.result(checked.as_dict(), tables.checked(checked), as_json=as_json, quiet=quiet)
    if checked.has_errors:
        raise typer.Exit(1)


@data_app.command("sample")
def data_sample(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="Kind of data: vessels, scenes, organs, nuclei.", autocompletion=complete.kinds
        ),
    ],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder; data/KIND_sample when left out.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other images for another seed.")] = 0,
    size: Annotated[
        int | None, typer.Option("--size", min=32, max=4096, help="Height of an image in pixels.", show_default=False)
    ] = None,
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Make a small data set, to try things out.

    Example: segcli data sample vessels
    """
    from segcli.cli import console
    from segcli.commands.data import make_sample
    from segcli.report import tables

    with console.listener(quiet=quiet or as_json) as listener:
        made = make_sample(kind, folder, seed=seed, size=size, overwrite=overwrite, listener=listener)
    console.result(made, tables.sample(made), as_json=as_json, quiet=quiet)


@data_app.command("stats")
def data_stats(
    config: ConfigArg, overrides: OverridesArg = None, as_json: JsonOpt = False, quiet: QuietOpt = False
) -> None:
    """Mean, std and class share of the training images, ready to paste.

    Example: segcli data stats configs/exp.yaml
    """
    from segcli.cli import console
    from segcli.config.load import load_dataset

    dataset = load_dataset(config, overrides or [], whole_run=False)

    from segcli.commands.data import data_stats as command
    from segcli.report import tables

    with console.listener(quiet=quiet or as_json) as listener:
        stats = command(dataset, listener=listener)
    console.result(stats.as_dict(), tables.stats(stats), as_json=as_json, quiet=quiet)


@data_app.command("split")
def data_split(
    config: ConfigArg, overrides: OverridesArg = None, as_json: JsonOpt = False, quiet: QuietOpt = False
) -> None:
    """Draw the splits and write the split file, or write it anew.

    Example: segcli data split configs/datasets/hrf.yaml split.seed=1
    """
    from segcli.cli import console
    from segcli.config.load import load_dataset

    dataset = load_dataset(config, overrides or [], whole_run=False)

    from segcli.commands.data import split_data
    from segcli.report import tables

    drawn = split_data(dataset)
    console.result(drawn.as_dict(), tables.split(drawn), as_json=as_json, quiet=quiet)


@app.command("train")
def train(
    config: ConfigArg,
    overrides: OverridesArg = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, run two steps, write nothing.")] = False,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Cross-validate: train so many runs, mean ± sd.", show_default=False),
    ] = None,
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Train a network.

    Example: segcli train configs/exp.yaml training.epochs=5 device=cpu
    """
    from segcli.cli import console
    from segcli.config.load import load_run

    run = load_run(config, overrides or [])

    from segcli.commands import train as command
    from segcli.report import tables

    if dry_run:
        with console.listener(quiet=quiet or as_json) as listener:
            rehearsed = command.dry_run(run, listener=listener)
        console.result(rehearsed, tables.rehearsed(rehearsed), as_json=as_json, quiet=quiet)
        return
    if folds is not None:
        from segcli.commands.crossval import cross_validate

        with console.listener(quiet=quiet or as_json) as listener:
            validated = cross_validate(run, folds, overwrite=overwrite, listener=listener)
        console.result(validated.as_dict(), tables.cross_validated(validated), as_json=as_json, quiet=quiet)
        return
    with console.listener(quiet=quiet or as_json, resumed_by=run.folder) as listener:
        trained = command.train(run, overwrite=overwrite, listener=listener)
    console.result(trained.as_dict(), tables.trained(trained), as_json=as_json, quiet=quiet)


@app.command("resume")
def resume(words: RunAndOverridesArg = None, as_json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """Go on exactly where a run stopped.

    Example: segcli resume exp training.epochs=40
    """
    from segcli.cli import console
    from segcli.commands.locate import locate_run

    name, overrides = run_and_overrides(words)
    located = locate_run(name)

    from segcli.commands import train as command
    from segcli.report import tables

    with console.listener(quiet=quiet or as_json, resumed_by=located.folder) as listener:
        console.took(located, listener)
        trained = command.resume(located, overrides, listener=listener)
    console.result(trained.as_dict(), tables.trained(trained), as_json=as_json, quiet=quiet)


@app.command("eval")
def evaluate(
    words: RunAndOverridesArg = None,
    split: SplitOpt = None,
    threshold: EvalThresholdOpt = None,
    tta: TTAOpt = None,
    out: OutOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Score a trained network on one split of its data set.

    Example: segcli eval exp --split test --json
    """
    from segcli.cli import console
    from segcli.commands.locate import locate_run

    name, overrides = run_and_overrides(words)
    wanted = threshold_or_best(threshold)
    located = locate_run(name)

    from segcli.commands.evaluate import evaluate_run
    from segcli.report import tables

    with console.listener(quiet=quiet or as_json) as listener:
        console.took(located, listener)
        done = evaluate_run(
            located, split=split, overrides=overrides, threshold=wanted, tta=tta, out=out, listener=listener
        )
    console.result(done.as_dict(), tables.evaluated(done), as_json=as_json, quiet=quiet)


@app.command("predict")
def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT ...", help="Image files, folders or globs.")],
    run: RunOpt = None,
    out: OutOpt = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write the image with the mask on it.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write probabilities as 16-bit PNG (0 to 65535).")
    ] = False,
    threshold: ThresholdOpt = None,
    tile: Annotated[
        int | None,
        typer.Option("--tile", min=32, help="Cut larger images into tiles of this size.", show_default=False),
    ] = None,
    tta: TTAOpt = None,
    video: Annotated[
        Path | None,
        typer.Option("--video", help="Also write the images with their masks as a video (.mp4).", show_default=False),
    ] = None,
    fps: Annotated[float, typer.Option("--fps", min=0.1, max=240, help="Frames per second of the video.")] = 10.0,
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Segment images of any size; masks keep name and size.

    Example: segcli predict photos/ --run exp --overlay
    """
    from segcli.cli import console
    from segcli.commands.locate import locate_run

    located = locate_run(run)

    from segcli.commands.predict import PredictOptions
    from segcli.commands.predict import predict as command
    from segcli.report import tables

    options = PredictOptions(
        out=out,
        overlays=overlay,
        probabilities=probabilities,
        threshold=threshold,
        tile=tile,
        tta=tta,
        video=video,
        fps=fps,
        overwrite=overwrite,
    )
    with console.listener(quiet=quiet or as_json) as listener:
        console.took(located, listener)
        done = command(inputs, located, options, listener=listener)
    console.result(done.as_dict(), tables.predicted(done), as_json=as_json, quiet=quiet)
    if done.failed:
        raise typer.Exit(3)


@app.command("profile-memory", help="VRAM before the first out-of-memory (of it, --processes is built yet).")
def profile_memory(
    configs: Annotated[list[str] | None, typer.Argument(metavar="[CONFIG | RUN]")] = None,
    processes: Annotated[bool, typer.Option("--processes", help="List who holds the memory of the GPUs here.")] = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Tell who holds a GPU's memory.

    Example: segcli profile-memory --processes
    """
    if processes:
        from segcli.cli import console
        from segcli.commands import profile
        from segcli.report import memory

        found = profile.processes()
        console.result(found.as_dict(), memory.holders(found), as_json=as_json, quiet=quiet)
        return
    _not_built("profile-memory", "start with a small `data.batch_size` and look at the memory in the progress line")


@app.command("export", help="ONNX, TorchScript, torch.export (not built yet).")
def export(run: Annotated[str | None, typer.Argument(metavar="[RUN]")] = None) -> None:
    """Say that it is not built yet."""
    _not_built("export", "a checkpoint's tensors under `model/` are plain safetensors")


def _not_built(command: str, instead: str) -> None:
    from segcli.core.errors import ConfigError

    raise ConfigError(f"`segcli {command}` is not built yet in version {__version__}", hint=instead)
