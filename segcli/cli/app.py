"""Table of contents of the command line.

Nothing heavy is imported here: `--help` and completion answer at once. A command loads the config first and PyTorch
second, so that a mistake in a file is told before anything slow begins.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segcli import __version__
from segcli.cli import complete
from segcli.cli.data_app import data_app
from segcli.cli.options import (
    ConfigArg,
    EvalThresholdOpt,
    JsonOpt,
    ModelFileOpt,
    OutOpt,
    OverridesArg,
    OverwriteOpt,
    QuietOpt,
    RunAndOverridesArg,
    RunsOpt,
    ThresholdOpt,
    TTAOpt,
    format_of,
    run_and_overrides,
    threshold_or_best,
)

if TYPE_CHECKING:
    from segcli.config.schema import Run

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


@app.command("train")
def train(
    config: ConfigArg,
    overrides: OverridesArg = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, run two steps, write nothing.")] = False,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Cross-validate: train so many runs, mean ± sd.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --dry-run: try even what cannot fit the GPU.")] = False,
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Train a network.

    In the end report.html in the run folder shows how it went.

    Example: segcli train configs/exp.yaml training.epochs=5 device=cpu
    """
    from segcli.cli import console
    from segcli.config.load import load_run

    run = load_run(config, overrides or [])

    from segcli.commands import train as command
    from segcli.report import tables

    if run.debug.profile_memory or run.debug.detailed_memory:
        _tell_memory(run, quiet=quiet or as_json)
    if dry_run:
        with console.listener(quiet=quiet or as_json) as listener:
            rehearsed = command.dry_run(run, force=force, listener=listener)
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


def _tell_memory(run: "Run", *, quiet: bool) -> None:
    """Print the forecast before a training, as `debug` asks for it."""
    from segcli.cli import console
    from segcli.commands import profile
    from segcli.report import vram as report

    if not quiet:
        (forecast,) = profile.forecasts([run])
        debug = run.debug
        console.aside(report.forecast(forecast, layers=debug.detailed_memory, activations=debug.estimate_activations))


@app.command("resume")
def resume(
    words: RunAndOverridesArg = None,
    model_file: ModelFileOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
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
        trained = command.resume(located, overrides, model_files=model_file or [], listener=listener)
    console.result(trained.as_dict(), tables.trained(trained), as_json=as_json, quiet=quiet)


@app.command("eval")
def evaluate(
    words: RunAndOverridesArg = None,
    split: SplitOpt = None,
    threshold: EvalThresholdOpt = None,
    tta: TTAOpt = None,
    out: OutOpt = None,
    model_file: ModelFileOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Score a trained network on one split of its data set.

    Tables, masks and report.html go to outputs/tests.

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
            located,
            split=split,
            overrides=overrides,
            threshold=wanted,
            tta=tta,
            out=out,
            model_files=model_file or [],
            listener=listener,
        )
    console.result(done.as_dict(), tables.evaluated(done), as_json=as_json, quiet=quiet)


@app.command("predict")
def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT ...", help="Image or volume files, folders or globs.")],
    run: RunsOpt = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            "-m",
            help="Exported ONNX file in the place of a run, or several; PyTorch is not loaded.",
            show_default=False,
        ),
    ] = None,
    model_file: ModelFileOpt = None,
    out: OutOpt = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write the image with the mask on it, of volumes nine planes.")
    ] = False,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="Also write probabilities as 16-bit PNG (0 to 65535), of volumes in float32."
        ),
    ] = False,
    uncertainty: Annotated[
        bool,
        typer.Option("--uncertainty", help="Also write entropy, or the spread of several runs, as 16-bit PNG."),
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
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Go on where an earlier call stopped.")
    ] = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Segment images and volumes of any size; masks keep name and size.

    Example: segcli predict photos/ --run exp --overlay
    """
    from segcli.cli import console
    from segcli.commands.locate import locate_run

    if model and run:
        raise typer.BadParameter("--model and --run exclude each other: the file is the network")
    if model and model_file:
        raise typer.BadParameter("--model and --model-file exclude each other: an exported file needs no code")
    located = [] if model else [locate_run(name) for name in run] if run else [locate_run(None)]

    from segcli.commands.answers import PredictOptions
    from segcli.commands.predict import predict as command
    from segcli.engine.inference.exported_predictor import exported
    from segcli.engine.inference.predictor import Overrides
    from segcli.report import tables

    options = PredictOptions(
        out=out,
        overlays=overlay,
        probabilities=probabilities,
        uncertainty=uncertainty,
        video=video,
        fps=fps,
        overwrite=overwrite,
        skip_existing=skip_existing,
    )
    overrides = Overrides(threshold=threshold, tile=tile, tta=tta)
    with console.listener(quiet=quiet or as_json) as listener:
        for entry in located:
            console.took(entry, listener)
        if model:
            networks = [exported(path, overrides) for path in model]
        else:
            from segcli.config.own_network import NetworkPermit
            from segcli.engine.inference.checkpoint_predictor import trained

            permit = NetworkPermit(model_file or [], listener.notice)
            networks = [trained(entry.for_prediction(), overrides, permit) for entry in located]
            permit.refuse_unused()
        done = command(inputs, networks, overrides, options, listener=listener)
    console.result(done.as_dict(), tables.predicted(done), as_json=as_json, quiet=quiet)
    if done.failed:
        raise typer.Exit(3)


@app.command("profile-memory")
def profile_memory(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG | RUN ...] [KEY=VALUE ...]",
            help="Experiment files, runs, checkpoints; the newest run or configs/exp.yaml, left out. Then overrides.",
            autocompletion=complete.config_run_or_key,
            show_default=False,
        ),
    ] = None,
    vram: Annotated[
        str | None,
        typer.Option("--vram", metavar="SIZE", help="Memory of the GPU, such as 24GiB; of the one here when left out."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", metavar="KEY=N,N,...", help="Also batch=1,2,4,8 or image_size=256,512."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Layers in the table, the largest.")] = 15,
    depth: Annotated[
        int | None,
        typer.Option("--depth", min=1, help="Levels of the network that are told apart.", show_default=False),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write the memory over the step to this page.", show_default=False)
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Also do the step on the GPU, and compare.")] = False,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="Also do the step and write a trace into this folder.", show_default=False),
    ] = None,
    processes: Annotated[bool, typer.Option("--processes", help="List who holds the memory of the GPUs here.")] = False,
    model_file: ModelFileOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Forecast the GPU memory of a training, on any machine, before the first out-of-memory.

    Plays the real step on tensors without data. Several experiments are compared, one row each.

    Example: segcli profile-memory configs/exp.yaml --vram 24GiB
    """
    from segcli.cli import console
    from segcli.commands import profile

    if processes:
        from segcli.report import memory

        found = profile.processes()
        console.result(found.as_dict(), memory.holders(found), as_json=as_json, quiet=quiet)
        return
    limit = None if vram is None else profile.parse_vram(vram)
    swept = None if sweep is None else profile.parse_sweep(sweep)

    from segcli.config.own_network import NetworkPermit

    with console.listener(quiet=quiet or as_json) as listener:
        runs, taken = profile.load_runs(words or [], NetworkPermit(model_file or [], listener.notice))

        from segcli.report import vram as report

        if taken is not None:
            listener.notice(f"experiment: {taken}")
        done = profile.forecasts(runs, vram=limit, sweep=swept, depth=depth, page=page, measure=measure, trace=trace)
        if page is not None:
            listener.notice(f"wrote {page}")
    tables = report.forecast(done[0], top=top) if len(done) == 1 else report.comparison(done)
    values = done[0].as_dict() if len(done) == 1 else {"runs": [one.as_dict() for one in done]}
    console.result(values, tables, as_json=as_json, quiet=quiet)


@app.command("export")
def export(
    words: RunAndOverridesArg = None,
    kind: Annotated[
        str,
        typer.Option(
            "--format", "-f", help="onnx, torchscript or pt2 (torch.export).", autocompletion=complete.formats
        ),
    ] = "onnx",
    bake: Annotated[
        bool, typer.Option("--bake", help="Let the file normalise the image and give probabilities.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Numbers of 16 bits.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Weights of 8 bits (ONNX), with the Dice that they cost measured.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            min=0.0,
            help="Largest difference to the original; 1e-4, or 2e-2 with --half.",
            show_default=False,
        ),
    ] = None,
    max_dice_loss: Annotated[
        float, typer.Option("--max-dice-loss", min=0.0, help="Largest loss of validation Dice with --int8.")
    ] = 0.02,
    out: OutOpt = None,
    overwrite: OverwriteOpt = False,
    model_file: ModelFileOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Write a trained network as a file that runs without segcli.

    The file is run in a fresh process and compared with the original; one that differs is not kept.

    Example: segcli export exp --format onnx --bake
    """
    from segcli.cli import console
    from segcli.commands.locate import locate_run

    name, overrides = run_and_overrides(words)
    wanted = format_of(kind)
    located = locate_run(name)

    from segcli.commands.export import ExportOptions
    from segcli.commands.export import export as command
    from segcli.report import tables

    options = ExportOptions(
        format=wanted,
        out=out,
        half=half,
        int8=int8,
        bake=bake,
        tolerance=tolerance,
        max_dice_loss=max_dice_loss,
        overwrite=overwrite,
        model_files=model_file or [],
    )
    with console.listener(quiet=quiet or as_json) as listener:
        console.took(located, listener)
        done = command(located, options, overrides=overrides, listener=listener)
    console.result(done.as_dict(), tables.exported(done), as_json=as_json, quiet=quiet)
