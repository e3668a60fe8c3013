"""Help texts in the words of users: `CONFIG` and `N` instead of `path` and `int range`."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

__all__ = ["App"]

Command = TypeVar("Command", bound=Callable[..., Any])


class _Command(TyperCommand):
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


class App(typer.Typer):
    """A group of commands with such help texts."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Command], Command]:
        """Register a command."""
        return super().command(name, **{"cls": _Command, **settings})
