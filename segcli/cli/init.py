"""`segcli init`."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import JsonOpt, MinutesOpt, OverwriteOpt, PlanVramOpt, QuietOpt, YesOpt
from segcli.core.paths import OVERRIDE

__all__ = ["init"]

FolderArg = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Folder of the images and masks, or volumes.",
        autocompletion=complete.files,
        show_default=False,
    ),
]
WordsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME] [KEY=VALUE ...]",
        help="Name of the data set and the run; default: that of FOLDER. Then keys of the data set that you know.",
        autocompletion=complete.data_or_key,
        show_default=False,
    ),
]
OutOpt = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Folder whose `datasets` and `experiments` get the two files.",
        autocompletion=complete.files,
    ),
]


def init(
    folder: FolderArg,
    words: WordsArg = None,
    yes: YesOpt = False,
    minutes: MinutesOpt = None,
    vram: PlanVramOpt = None,
    out: OutOpt = Path("configs"),
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Look at a folder and write both files of an experiment.

    Every key has a comment that says why. What the files do not say is asked.

    Example: segcli init data/retina --minutes 10
    """
    from segcli.cli import console
    from segcli.cli.starting import end

    overrides = [word for word in words or [] if OVERRIDE.match(word)]
    named = [word for word in words or [] if word not in overrides]
    if len(named) > 1:
        raise typer.BadParameter(f"one name at a time, got `{'` and `'.join(named)}`; a key is KEY=VALUE")

    from segcli.commands.init import init_data
    from segcli.commands.profile import parse_vram
    from segcli.report.beginning import assumed, begun

    made = init_data(
        folder,
        named[0] if named else None,
        overrides,
        ask=console.asker(quiet=quiet or as_json),
        yes=yes,
        out=out,
        overwrite=overwrite,
        minutes=minutes,
        vram=None if vram is None else parse_vram(vram),
    )
    end()
    result = made.as_dict()
    console.result(result, begun(result), as_json=as_json, quiet=quiet)
    if quiet and not as_json:
        console.aside(assumed(result))
    console.next_step(f"segcli train {quote(made.experiment.as_posix())} --dry-run", quiet=quiet or as_json)
