"""`segcli predict`."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import (
    CheckpointOpt,
    GpusOpt,
    JsonOpt,
    ModelFileOpt,
    OutOpt,
    OverwriteOpt,
    ProcessesOpt,
    QuietOpt,
    RunsOpt,
    ThresholdOpt,
    TTAOpt,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from segcli.cli.launch import Team
    from segcli.commands.answers import PredictOptions
    from segcli.commands.locate import Located
    from segcli.engine.events import Listener
    from segcli.engine.inference.predictor import Candidate, Overrides
    from segcli.engine.world import World
    from segcli.report.results import Predicted

__all__ = ["predict"]

InputsArg = Annotated[
    list[str],
    typer.Argument(metavar="INPUT ...", help="Image or volume files, folders or globs.", autocompletion=complete.files),
]
ModelsOpt = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="FILE.onnx",
        autocompletion=complete.export_files,
        help="Exported ONNX file instead of a run, or several files; PyTorch is not loaded.",
        show_default=False,
    ),
]
OverlayOpt = Annotated[
    bool, typer.Option("--overlay", help="Also write the image with the mask drawn on it; of volumes, nine planes.")
]
ProbabilitiesOpt = Annotated[
    bool,
    typer.Option(
        "--probabilities", help="Also write probabilities as 16-bit PNG (0 to 65535); of volumes, as float32."
    ),
]
UncertaintyOpt = Annotated[
    bool,
    typer.Option("--uncertainty", help="Also write the entropy, or the spread of several runs, as 16-bit PNG."),
]
TileOpt = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="N",
        min=32,
        help="Cut larger images into tiles of this size.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
VideoOpt = Annotated[
    Path | None,
    typer.Option(
        "--video",
        metavar="FILE.mp4",
        help="Also write the images with their masks as a video (.mp4).",
        autocompletion=complete.files,
        show_default=False,
    ),
]
FpsOpt = Annotated[
    float,
    typer.Option(
        "--fps",
        metavar="N",
        min=0.1,
        max=240,
        help="Frames per second of the video.",
        autocompletion=complete.nothing,
    ),
]
PageOpt = Annotated[
    int | None,
    typer.Option(
        "--page",
        metavar="N",
        min=0,
        help="Page of images with several pages, counted from 0.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
FovOpt = Annotated[
    Path | None,
    typer.Option(
        "--fov",
        metavar="FOLDER",
        autocompletion=complete.files,
        help="Masks of the field of view, named as the images; nothing is predicted outside.",
        show_default=False,
    ),
]
SkipExistingOpt = Annotated[bool, typer.Option("--skip-existing", help="Skip images that already have a mask.")]


def predict(
    inputs: InputsArg,
    run: RunsOpt = None,
    checkpoint: CheckpointOpt = None,
    model: ModelsOpt = None,
    model_file: ModelFileOpt = None,
    out: OutOpt = None,
    overlay: OverlayOpt = False,
    probabilities: ProbabilitiesOpt = False,
    uncertainty: UncertaintyOpt = False,
    threshold: ThresholdOpt = None,
    tile: TileOpt = None,
    tta: TTAOpt = None,
    video: VideoOpt = None,
    fps: FpsOpt = 10.0,
    page: PageOpt = None,
    fov: FovOpt = None,
    overwrite: OverwriteOpt = False,
    skip_existing: SkipExistingOpt = False,
    gpus: GpusOpt = None,
    processes: ProcessesOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Segment images and volumes; masks keep names and sizes.

    Example: segcli predict photos/ --run exp --overlay
    """
    from segcli.cli.launch import Team
    from segcli.commands.locate import locate_run

    if model:
        _refuse_with_export({"--run": run, "--checkpoint": checkpoint, "--model-file": model_file, "--gpus": gpus})
    located = [] if model else [locate_run(name, checkpoint) for name in tuple(run or ()) or (None,)]
    team = Team(gpus, processes)
    if team.is_parent:
        team.start()
        return

    from segcli.commands.answers import PredictOptions
    from segcli.engine.inference.predictor import Overrides

    options = PredictOptions(
        out=out,
        overlays=overlay,
        probabilities=probabilities,
        uncertainty=uncertainty,
        video=video,
        fps=fps,
        page=page,
        fov=fov,
        overwrite=overwrite,
        skip_existing=skip_existing,
        mark="".join(dict.fromkeys(each.mark for each in located)),
    )
    overrides = Overrides(threshold=threshold, tile=tile, tta=tta, device=team.device_instead())
    _predict(team, inputs, model or [], located, model_file or [], overrides, options, as_json=as_json, quiet=quiet)


def _predict(
    team: "Team",
    inputs: list[str],
    exports: list[Path],
    located: "list[Located]",
    model_files: list[Path],
    overrides: "Overrides",
    options: "PredictOptions",
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict alone or together with other processes, and print the results."""
    from segcli.cli import console
    from segcli.commands.predict import predict as command

    world_of = _joined(team, "cpu" if exports else overrides.device or "auto")
    with world_of as world, console.listener(quiet=quiet or as_json) as listener:
        networks = _networks(exports, located, model_files, overrides, listener)
        done = command(inputs, networks, overrides, options, listener=listener, world=world)
    if world is None or world.is_first:
        _tell(done, inputs, located, model_files, as_json=as_json, quiet=quiet)


def _joined(team: "Team", device: str) -> "AbstractContextManager[World | None]":
    """Join the other processes; a single one gets None, because an exported file is run without PyTorch."""
    return nullcontext() if team.here is None else team.world(device)


def _refuse_with_export(options: dict[str, object]) -> None:
    """Refuse options that an exported file does not have."""
    for option, given in options.items():
        if given:
            why = "ONNX files run on CPUs, take --processes" if option == "--gpus" else "the file is the network"
            raise typer.BadParameter(f"--model and {option} exclude each other: {why}")


def _tell(
    done: "Predicted",
    inputs: list[str],
    located: "list[Located]",
    model_files: list[Path],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the results; the command fails if a file has failed."""
    from segcli.cli import console
    from segcli.report import tables

    console.result(done.as_dict(), tables.predicted(done), as_json=as_json, quiet=quiet)
    if done.failed:
        raise typer.Exit(3)
    _tell_next(done, inputs, located, model_files, quiet=quiet or as_json)


def _tell_next(
    done: "Predicted", inputs: list[str], located: "list[Located]", model_files: list[Path], *, quiet: bool
) -> None:
    """Print the command that comes next; an exported file has none, and is run without PyTorch."""
    if located:
        from segcli.cli import console
        from segcli.commands.next_steps import after_predict

        console.next_step(after_predict(done, inputs, located, model_files), quiet=quiet)


def _networks(
    exports: list[Path], runs: "list[Located]", model_files: list[Path], overrides: "Overrides", listener: "Listener"
) -> "list[Candidate]":
    """Find the networks of exported files, or else of runs."""
    if exports:
        from segcli.engine.inference.exported_predictor import exported

        return [exported(path, overrides) for path in exports]

    from segcli.cli import console
    from segcli.config.own_code import PREDICTING, CodePermit
    from segcli.engine.inference.checkpoint_predictor import trained

    for run in runs:
        console.took(run, listener)
    permit = CodePermit(model_files, listener.notice, PREDICTING)
    networks = [trained(run.for_prediction(), overrides, permit) for run in runs]
    permit.refuse_unused()
    return networks
