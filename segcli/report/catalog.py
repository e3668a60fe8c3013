"""What `segcli models`, `losses`, `metrics`, `formats`, `configs` and `config keys` list, for a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

__all__ = ["configs", "copied", "described", "key_list", "listed"]

TITLES = {"datasets": "data-set formats (dataset.format)", "files": "file formats"}


def listed(found: dict[str, Any]) -> Iterator[Any]:
    """Show one row for each component."""
    for room, rows in found.items():
        table = Table(title=TITLES.get(room), title_justify="left", box=None, padding=(0, 2, 0, 0))
        table.add_column("name", no_wrap=True)
        if room == "models":
            table.add_column("parameters", justify="right", no_wrap=True)
        if room == "files":
            table.add_column("endings")
        table.add_column("what it is")
        for row in rows:
            between = [f"{row['parameters']:,}" if "parameters" in row else "-"] if room == "models" else []
            between += [escape(" ".join(row["endings"]))] if room == "files" else []
            table.add_row(row["name"], *between, escape(row["about"]))
        yield table
    room = next(iter(found))
    yield f"[dim]the keys of one: segcli {'formats' if room == 'datasets' else room} NAME[/]"


def described(values: dict[str, Any]) -> Iterator[Any]:
    """Show one component with its keys."""
    yield f"[bold]{values['name']}[/]: {escape(values['about'])}"
    if "parameters" in values:
        yield f"{values['parameters']:,} parameters for 3 channels and one mask or class"
    if "reads" in values:
        yield f"{values['reads']}: {' '.join(values['endings'])}"
    if "paper" in values:
        yield f"Paper: {escape(values['paper'])}"
    if "differs" in values:
        yield escape(values["differs"])
    if "yaml" in values:
        yield escape(values["yaml"])
    if values["keys"]:
        yield from key_list(values["keys"])
    elif "yaml" in values:
        yield "no keys of its own"


def key_list(rows: list[dict[str, Any]]) -> Iterator[Any]:
    """Show keys, each with its type and default in one line and its meaning below."""
    for row in rows:
        default = "" if not row["default"] else f", default {row['default']}"
        fact = ", required" if row["default"] == "required" else default
        yield Group(
            f"[bold]{escape(row['key'])}[/]  [dim]{escape(row['type'] + fact)}[/]",
            Padding(escape(row["about"]), (0, 0, 0, 4)),
        )


def configs(rows: list[dict[str, Any]]) -> Iterator[Any]:
    """Show one row for each shipped config."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    for row in rows:
        table.add_row(row["name"], escape(row["about"]))
    yield table
    yield "[dim]train one: segcli train NAME; change one: segcli configs copy NAME[/]"


def copied(paths: list[str]) -> Iterator[Any]:
    """Show which files were written."""
    yield from (f"wrote {escape(path)}" for path in paths)
