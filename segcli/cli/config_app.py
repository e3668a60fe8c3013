"""Commands of `segcli config`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from segcli.cli import complete
from segcli.cli.options import JsonOpt, OverwriteOpt, QuietOpt
from segcli.cli.plain_help import App
from segcli.cli.starting import moving

__all__ = ["config_app"]

config_app = App(
    help="List keys, print the JSON schema, translate old configs.", no_args_is_help=True, rich_markup_mode=None
)

OldArg = Annotated[
    Path,
    typer.Argument(
        metavar="OLD",
        help="Old YAML or JSON, or a script with the old command.",
        autocompletion=complete.yaml_files,
        show_default=False,
    ),
]
WordsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WORD ...]",
        autocompletion=complete.nothing,
        help="Words of the old command, such as with a.b=c; after -- also --lr 1e-4.",
        show_default=False,
    ),
]
WithOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="a.b=c",
        help="Value that Sacred was given; repeatable.",
        autocompletion=complete.nothing,
        show_default=False,
    ),
]
FromOpt = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="vessels | scenes | organs | nuclei | cells",
        autocompletion=complete.pipelines,
        help="Earlier pipeline; default: recognised by its keys.",
        show_default=False,
    ),
]
FileOpt = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="NEW.yaml",
        autocompletion=complete.files,
        help="Experiment file to write, with a data-set file beside it; default: print.",
        show_default=False,
    ),
]
SectionArg = Annotated[
    str | None,
    typer.Argument(
        metavar="[SECTION]",
        help="Section or key, such as training.",
        autocompletion=complete.sections,
        show_default=False,
    ),
]


@config_app.callback()
def _group() -> None:
    """List keys, print the JSON schema, translate old configs."""


@config_app.command("translate")
@moving
def config_translate(
    old: OldArg,
    words: WordsArg = None,
    with_: WithOpt = None,
    pipeline: FromOpt = None,
    out: FileOpt = None,
    overwrite: OverwriteOpt = False,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Translate the config of an earlier pipeline.

    The result is an experiment file with its data-set file.

    Comments in the new file list what was translated, what has no counterpart, and what you must decide.

    Example: segcli config translate old.yaml --out new.yaml
    """
    from segcli.cli import console
    from segcli.commands.translate import translate_config
    from segcli.report import translation as tables

    extra = [word for text in with_ or [] for word in shlex.split(text)]
    done = translate_config(old, [*(words or []), *extra], pipeline=pipeline, out=out, overwrite=overwrite)
    result = done.as_dict()
    if out is not None or as_json:
        console.result(result, tables.translated(result), as_json=as_json, quiet=quiet)
        return
    console.text(done.experiment)
    if not quiet:
        console.aside(tables.verdict(result))


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of YAML files, for editors.

    The first line of a YAML file that says `# yaml-language-server: $schema=segcli.schema.json` points an editor at it.

    Example: segcli config schema > segcli.schema.json
    """
    import json

    from segcli.cli import console
    from segcli.config.json_schema import json_schema

    console.text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n")


@config_app.command("keys")
def config_keys(section: SectionArg = None, as_json: JsonOpt = False) -> None:
    """List keys of an experiment, with types and defaults.

    Keys of a network, loss, metric or format are listed by `segcli models NAME` and so on.

    Example: segcli config keys training.ema
    """
    from segcli.cli import console
    from segcli.commands.catalog import keys
    from segcli.report import catalog as tables

    rows = keys(section)
    console.result({"keys": rows}, tables.key_list(rows), as_json=as_json, quiet=False)
