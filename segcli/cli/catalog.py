"""`segcli models`, `losses`, `metrics` and `formats`: what there is."""

from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import JsonOpt

__all__ = ["formats", "losses", "metrics", "models"]

ModelArg = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Network to describe.", autocompletion=complete.models, show_default=False),
]
LossArg = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Loss to describe.", autocompletion=complete.losses, show_default=False),
]
MetricArg = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Metric to describe.", autocompletion=complete.metrics, show_default=False),
]
FormatArg = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Format to describe.", autocompletion=complete.known_formats, show_default=False
    ),
]


def models(name: ModelArg = None, as_json: JsonOpt = False) -> None:
    """List networks, or the keys of one.

    Parameters are counted for 3 channels and one mask or class.

    Example: segcli models unet
    """
    _print("models", name, as_json=as_json)


def losses(name: LossArg = None, as_json: JsonOpt = False) -> None:
    """List losses, or the keys of one.

    Example: segcli losses dice
    """
    _print("losses", name, as_json=as_json)


def metrics(name: MetricArg = None, as_json: JsonOpt = False) -> None:
    """List metrics, or the keys of one.

    Example: segcli metrics surface_dice
    """
    _print("metrics", name, as_json=as_json)


def formats(name: FormatArg = None, as_json: JsonOpt = False) -> None:
    """List formats of data sets and files, or the keys of one.

    Example: segcli formats image_folders
    """
    _print("formats", name, as_json=as_json)


def _print(room: str, name: str | None, *, as_json: bool) -> None:
    from segcli.cli import console
    from segcli.commands import catalog
    from segcli.report import catalog as tables

    if name is None:
        found = catalog.listed(room)
        console.result(found, tables.listed(found), as_json=as_json, quiet=False)
        return
    described = catalog.described(room, name)
    console.result(described, tables.described(described), as_json=as_json, quiet=False)
