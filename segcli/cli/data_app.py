"""Commands of `segcli data`; nothing heavy is imported before the config has been read."""

from pathlib import Path
from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import (
    DataConfigArg,
    DataOverridesArg,
    JsonOpt,
    OverwriteOpt,
    QuietOpt,
)
from segcli.cli.plain_help import App
from segcli.cli.starting import moving

__all__ = ["data_app"]

data_app = App(
    help="Check, describe, split, convert and generate data sets.", no_args_is_help=True, rich_markup_mode=None
)
SeedOpt = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", min=0, help="Seed of what is drawn at random.", autocompletion=complete.nothing
    ),
]
HeightOpt = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="N",
        min=32,
        max=4096,
        help="Height of an image in pixels.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
ImagesOpt = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="NAME",
        help="Folder of the images in FROM.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
LabelsOpt = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="NAME",
        help="Folder of the labels in FROM.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
StructuresOpt = Annotated[
    str | None,
    typer.Option(
        "--structures",
        metavar="NAME=N,...",
        help="Names and label values, such as liver=5,spleen=1; default: all values.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
SizeOpt = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="N,N,N",
        help="Size of all volumes in voxels, such as 64,64,32; default: the largest.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
FitOpt = Annotated[
    str,
    typer.Option("--fit", metavar="pad | resize", help="How volumes get this size.", autocompletion=complete.fits),
]
ValOpt = Annotated[
    float,
    typer.Option(
        "--val",
        metavar="X",
        min=0.0,
        max=0.9,
        help="Share of the cases for validation.",
        autocompletion=complete.nothing,
    ),
]
TestOpt = Annotated[
    float,
    typer.Option(
        "--test",
        metavar="X",
        min=0.0,
        max=0.9,
        help="Share of the cases for the test.",
        autocompletion=complete.nothing,
    ),
]


WriteOpt = Annotated[
    bool, typer.Option("--write", help="Write mean and std into the data-set file; its comments stay.")
]
StrictOpt = Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings, too.")]
HtmlOpt = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE.html",
        help="Write a page with pictures of the findings.",
        autocompletion=complete.files,
        show_default=False,
    ),
]
FixOpt = Annotated[
    Path | None,
    typer.Option(
        "--fix",
        metavar="FOLDER",
        help="Write a corrected copy of the images and masks into a new folder.",
        autocompletion=complete.files,
        show_default=False,
    ),
]


@data_app.command("check")
@moving
def data_check(
    config: DataConfigArg,
    overrides: DataOverridesArg = None,
    strict: StrictOpt = False,
    html: HtmlOpt = None,
    fix: FixOpt = None,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Check a data set for faults before a training.

    The exit code is 1 if there are errors.

    Example: segcli data check configs/exp.yaml
    """
    from segcli.cli import console
    from segcli.config.document import Problem
    from segcli.config.load import load_for_check

    misfits: list[Problem] = []
    dataset, run = load_for_check(config, overrides or [], numbers=misfits)
    silent = quiet or as_json
    console.shipped(config, quiet=silent, datasets=True)

    from segcli.commands.data import check_data
    from segcli.report import data_tables as tables

    if html is not None:
        from segcli.commands.check_pictures import refuse_page, write_check_page

        refuse_page(html)
    if fix is not None:
        from segcli.commands.mend import mend, refuse_copy
        from segcli.report.mended import mended

        refuse_copy(dataset, fix)
    with console.listener(quiet=silent) as listener:
        checked = check_data(dataset, run, misfits=misfits, listener=listener)
    values = checked.as_dict()
    if not as_json:
        console.result(values, tables.checked(checked), as_json=False, quiet=quiet)
        console.aside(tables.faults(checked) if quiet else [])
    if html is not None:
        write_check_page(html, checked, dataset)
        console.aside([] if silent else [f"wrote {html}"])
    if fix is not None:
        with console.listener(quiet=silent) as listener:
            made = mend(dataset, fix, listener=listener)
        values["mended"] = made.as_dict()
        console.aside([] if silent else mended(made))
    if as_json:
        console.result(values, [], as_json=True, quiet=quiet)
    if checked.has_errors or (strict and checked.has_warnings):
        raise typer.Exit(1)

    from segcli.commands.next_steps import after_check

    console.next_step(after_check(checked, config, overrides or [], run), quiet=silent)


@data_app.command("sample")
@moving
def data_sample(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="Kind of data: vessels, scenes, organs, nuclei, cells.", autocompletion=complete.kinds
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder; default: data/KIND_sample.", autocompletion=complete.files),
    ] = None,
    seed: SeedOpt = 0,
    size: HeightOpt = None,
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Generate a small data set to try things out.

    Example: segcli data sample vessels
    """
    from segcli.cli import console
    from segcli.commands.data import make_sample
    from segcli.report import data_tables as tables

    with console.listener(quiet=quiet or as_json) as listener:
        made = make_sample(kind, folder, seed=seed, size=size, overwrite=overwrite, listener=listener)
    console.result(made, tables.sample(made), as_json=as_json, quiet=quiet)


@data_app.command("convert")
@moving
def data_convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="FROM", help="Folder with images and labels.", autocompletion=complete.files),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TO", help="Folder of the HDF5 files.", autocompletion=complete.files)
    ],
    images: ImagesOpt = None,
    labels: LabelsOpt = None,
    structures: StructuresOpt = None,
    size: SizeOpt = None,
    fit: FitOpt = "pad",
    val: ValOpt = 0.2,
    test: TestOpt = 0.0,
    seed: SeedOpt = 0,
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Convert NIfTI folders, or 2D images with masks, to HDF5 volumes.

    Example: segcli data convert hippocampus data/hippocampus --size 40,56,40
    """
    from segcli.cli import console
    from segcli.cli.options import fit_of, sizes_of

    wanted, how = sizes_of(size), fit_of(fit)

    from segcli.commands.convert import ConvertOptions, convert
    from segcli.report import data_tables as tables

    options = ConvertOptions(
        images=images,
        labels=labels,
        structures=tuple(structures.split(",")) if structures else (),
        size=wanted,
        fit=how,
        val=val,
        test=test,
        seed=seed,
        overwrite=overwrite,
    )
    with console.listener(quiet=quiet or as_json) as listener:
        made = convert(source, target, options, listener=listener)
    console.result(made, tables.converted(made), as_json=as_json, quiet=quiet)


@data_app.command("stats")
@moving
def data_stats(
    config: DataConfigArg,
    overrides: DataOverridesArg = None,
    write: WriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Compute mean, std, class shares and sizes of training images.

    They are printed ready to paste.

    Example: segcli data stats configs/exp.yaml
    """
    from segcli.cli import console
    from segcli.config.load import load_dataset

    dataset = load_dataset(config, overrides or [], whole_run=False)
    console.shipped(config, quiet=quiet or as_json, datasets=True)

    from segcli.commands.data import data_stats as command
    from segcli.report import data_tables as tables

    with console.listener(quiet=quiet or as_json) as listener:
        stats = command(dataset, listener=listener)
    console.result(stats.as_dict(), tables.stats(stats), as_json=as_json, quiet=quiet)
    if write:
        from segcli.commands.write_numbers import write_numbers

        console.aside([f"wrote mean and std into {write_numbers(config, stats)}"])

    from segcli.commands.next_steps import after_stats

    console.next_step(after_stats(config, overrides or []), quiet=quiet or as_json)


@data_app.command("split")
@moving
def data_split(
    config: DataConfigArg, overrides: DataOverridesArg = None, as_json: JsonOpt = False, quiet: QuietOpt = False
) -> None:
    """Draw the splits and write the split file.

    An existing file is replaced.

    Example: segcli data split configs/datasets/hrf.yaml split.seed=1
    """
    from segcli.cli import console
    from segcli.config.load import load_dataset

    dataset = load_dataset(config, overrides or [], whole_run=False)
    console.shipped(config, quiet=quiet or as_json, datasets=True)

    from segcli.commands.data import split_data
    from segcli.report import data_tables as tables

    drawn = split_data(dataset)
    console.result(drawn.as_dict(), tables.split(drawn), as_json=as_json, quiet=quiet)
