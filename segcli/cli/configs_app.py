"""Commands of `segcli configs`."""

from pathlib import Path
from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import JsonOpt, OverwriteOpt
from segcli.cli.plain_help import App

__all__ = ["configs_app"]

configs_app = App(help="List, show and copy the shipped experiments.", no_args_is_help=True, rich_markup_mode=None)

NameArg = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of a shipped config.", autocompletion=complete.shipped),
]
FolderArg = Annotated[
    Path,
    typer.Argument(metavar="[FOLDER]", help="Folder to copy into.", autocompletion=complete.files),
]


@configs_app.command("list")
def configs_list(as_json: JsonOpt = False) -> None:
    """List the shipped experiments, data-set files and jobs for clusters.

    Example: segcli configs list
    """
    from segcli.cli import console
    from segcli.commands.shipped import listed
    from segcli.report import catalog as tables

    rows = listed()
    console.result({"configs": rows}, tables.configs(rows), as_json=as_json, quiet=False)


@configs_app.command("show")
def configs_show(name: NameArg) -> None:
    """Print a shipped config.

    Example: segcli configs show exp
    """
    from segcli.cli import console
    from segcli.commands.shipped import content

    console.text(content(name))


@configs_app.command("copy")
def configs_copy(
    name: NameArg,
    folder: FolderArg = Path("configs"),
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Copy a shipped experiment, to change it.

    Its data-set file and the JSON schema for editors are copied with it; what is there already and equal stays.

    Example: segcli configs copy exp
    """
    from segcli.cli import console
    from segcli.commands.shipped import copy
    from segcli.report import catalog as tables

    paths = [path.as_posix() for path in copy(name, folder, overwrite=overwrite)]
    console.result({"written": paths}, tables.copied(paths), as_json=as_json, quiet=False)
