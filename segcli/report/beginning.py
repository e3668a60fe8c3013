"""Result of `segcli init` as tables for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from rich.markup import escape
from rich.table import Table

__all__ = ["assumed", "begun"]

LONGEST = 60
"""Letters of a value that are shown; the file holds all."""
SURE = {"certain": "certain", "likely": "likely", "guess": "[yellow]guess[/]"}


def begun(made: Mapping[str, Any]) -> Iterator[Any]:
    """Show what was recognised, how sure that is, and which files were written."""
    counts = ", ".join(f"{count} {split}" for split, count in made["counts"].items())
    yield f"{escape(made['about'])}: {counts}"
    table = Table(title=f"Data set {escape(made['name'])}", title_justify="left")
    for heading in ("key", "value", "why", "sure"):
        table.add_column(heading, overflow="fold")
    for row in made["keys"]:
        table.add_row(escape(row["key"]), escape(_value(row["value"])), escape(row["reason"]), SURE[row["sure"]])
    yield table
    yield from assumed(made)
    for note in made["notes"]:
        yield f"note: {escape(note)}"
    yield f"written: {escape(made['dataset'])} and {escape(made['experiment'])}"


def assumed(made: Mapping[str, Any]) -> Iterator[str]:
    """Show the questions that nobody was asked, with the answers that were taken."""
    for each in made["assumed"]:
        yield f"[yellow]assumed[/]: {escape(each['question'])} {escape(each['answer'])}{escape(each['other'])}"


def _value(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
