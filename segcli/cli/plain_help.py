"""Commands of Typer that show help in the words of users, and complete a word at once.

Help has `CONFIG` and `N` instead of `path` and `int range`. For TAB the words are not converted to their types: Typer
would import pydantic for that, which takes longer than all the rest.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["App"]

Command = TypeVar("Command", bound=Callable[..., Any])


class _Quick:
    """Takes the words of an unfinished command as they are typed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        command: Any = self
        entries = command.get_params(ctx) if ctx.resilient_parsing else ()
        try:
            for entry in entries:
                entry.process_value = _as_typed
            return list(super().parse_args(ctx, args))  # type: ignore[misc]  # of the class that it is mixed into
        finally:
            for entry in entries:
                del entry.process_value  # a later command converts its words


def _as_typed(ctx: Any, value: Any) -> Any:
    """Return a value as it was typed."""
    return value


class _Command(_Quick, TyperCommand):
    """Shows each argument as users type it, once in the usage and once with its meaning."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [entry for entry in self.get_params(ctx) if entry.param_type_name == "argument"]
        return [self.options_metavar or "", *(str(entry.metavar) for entry in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for entry in self.get_params(ctx):
            record = entry.get_help_record(ctx)
            if record is not None:
                kind = entry.param_type_name
                typed = str(entry.metavar) if kind == "argument" else record[0]
                rows[kind].append((typed, record[1]))
        for kind, listed in rows.items():
            if listed:
                with formatter.section(f"{kind.capitalize()}s"):
                    formatter.write_dl(listed)


class _Group(_Quick, TyperGroup):
    """Groups commands, and knows words of other programs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if ctx.parent is None and args[0] not in self.commands and not ctx.resilient_parsing:
            from segcli.cli.other_words import said_here

            here = said_here(args[0], self.commands)
            if here is not None:
                ctx.fail(f"No such command '{args[0]}': {here}")
        return super().resolve_command(ctx, args)


class App(typer.Typer):
    """A group of commands with such help texts."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=_Group, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Command], Command]:
        """Register a command."""
        return super().command(name, **{"cls": _Command, **settings})
