"""`segcli export`."""

from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import (
    JsonOpt,
    ModelFileOpt,
    OutOpt,
    OverwriteOpt,
    QuietOpt,
    RunAndOverridesArg,
    format_of,
    run_and_overrides,
)

__all__ = ["export"]

FormatOpt = Annotated[
    str,
    typer.Option("--format", "-f", help="onnx, torchscript or pt2 (torch.export).", autocompletion=complete.formats),
]
BakeOpt = Annotated[bool, typer.Option("--bake", help="Let the file normalise the image and give probabilities.")]
HalfOpt = Annotated[bool, typer.Option("--half", help="Numbers of 16 bits.")]
Int8Opt = Annotated[
    bool, typer.Option("--int8", help="Weights of 8 bits (ONNX), with the Dice that they cost measured.")
]
ToleranceOpt = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        min=0.0,
        help="Largest difference to the original; 1e-4, or 2e-2 with --half.",
        show_default=False,
    ),
]
MaxDiceLossOpt = Annotated[
    float, typer.Option("--max-dice-loss", min=0.0, help="Largest loss of validation Dice with --int8.")
]


def export(
    words: RunAndOverridesArg = None,
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
