"""Table of contents of the command line.

Nothing heavy is imported here, so that `--help` and completion answer at once. A command loads the config first and
PyTorch second, so that a mistake in a file is reported before anything slow begins.
"""

from typing import Annotated

import typer

from segcli import __version__
from segcli.cli import complete
from segcli.cli.catalog import formats, losses, metrics, models
from segcli.cli.config_app import config_app
from segcli.cli.configs_app import configs_app
from segcli.cli.data_app import data_app
from segcli.cli.evaluate import evaluate
from segcli.cli.export import export
from segcli.cli.init import init
from segcli.cli.plain_help import App
from segcli.cli.predict import predict
from segcli.cli.profile_memory import profile_memory
from segcli.cli.starting import moving
from segcli.cli.train import resume, train

__all__ = ["app"]

app = App(
    name="segcli",
    help="Train, check, evaluate and run segmentation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
app.add_typer(configs_app, name="configs")
app.add_typer(config_app, name="config")
app.command("init")(moving(init))
app.command("train")(moving(train))
app.command("resume")(moving(resume))
app.command("eval")(moving(evaluate))
app.command("predict")(moving(predict))
app.command("profile-memory")(moving(profile_memory))
app.command("export")(moving(export))
app.command("models")(models)
app.command("losses")(losses)
app.command("metrics")(metrics)
app.command("formats")(formats)


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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    completion: Annotated[
        str | None,
        typer.Option(
            "--completion",
            metavar="SHELL",
            callback=_completion,
            is_eager=True,
            help="Print the completion script for bash, zsh, fish or PowerShell.",
            autocompletion=complete.shells,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train, check, evaluate and run segmentation models."""
