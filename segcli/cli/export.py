"""`segcli export`."""

from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import (
    CheckpointOpt,
    JsonOpt,
    ModelFileOpt,
    OutOpt,
    OverwriteOpt,
    QuietOpt,
    RunAndOverridesArg,
    format_of,
    run_and_overrides,
)
from segcli.engine.export.formats import FORMATS

__all__ = ["export"]

FormatOpt = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar=" | ".join(FORMATS.values()),
        help="File format; pt2 is that of torch.export.",
        autocompletion=complete.formats,
    ),
]
BakeOpt = Annotated[
    bool, typer.Option("--bake", help="Include normalisation and activation: pixels as stored in, probabilities out.")
]
HalfOpt = Annotated[bool, typer.Option("--half", help="Store numbers with 16 bits.")]
Int8Opt = Annotated[bool, typer.Option("--int8", help="Store weights with 8 bits (ONNX); measures the loss of Dice.")]
ToleranceOpt = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        metavar="X",
        autocompletion=complete.nothing,
        min=0.0,
        help="Largest accepted difference from the original; default: 1e-4, or 2e-2 with --half.",
        show_default=False,
    ),
]
MaxDiceLossOpt = Annotated[
    float,
    typer.Option(
        "--max-dice-loss",
        metavar="X",
        min=0.0,
        help="Largest accepted loss of validation Dice with --int8.",
        autocompletion=complete.nothing,
    ),
]


def export(
    words: RunAndOverridesArg = None,
    checkpoint: CheckpointOpt = None,
    kind: FormatOpt = "onnx",
    bake: BakeOpt = False,
    half: HalfOpt = False,
    int8: Int8Opt = False,
    tolerance: ToleranceOpt = None,
    max_dice_loss: MaxDiceLossOpt = 0.02,
    out: OutOpt = None,
    overwrite: OverwriteOpt = False,
    model_file: ModelFileOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Export a trained network to ONNX, TorchScript or pt2.

    The file runs without segcli. It is tried in a new process and compared with the original; one that differs is
    deleted.

    Example: segcli export exp --format onnx --bake
    """
    from segcli.cli import console
    from segcli.commands.locate import locate_run

    name, overrides = run_and_overrides(words)
    file_format = format_of(kind)
    located = locate_run(name, checkpoint)

    from segcli.commands.export import ExportOptions
    from segcli.commands.export import export as command
    from segcli.commands.next_steps import after_export
    from segcli.report import tables

    options = ExportOptions(
        format=file_format,
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
    console.next_step(after_export(done), quiet=quiet or as_json)
