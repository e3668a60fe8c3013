"""A translated config for a terminal."""

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any

from rich.markup import escape
from rich.table import Table

from segcli.core.files import plain
from segcli.core.names import printable

__all__ = ["translated", "verdict"]


def translated(result: dict[str, Any]) -> Iterator[Any]:
    """Show the table of old and new keys, keys without a counterpart, and open decisions."""
    table = Table(title=f"Keys of {escape(result['source'])}, read as {result['pipeline']}", title_justify="left")
    for heading in ("old key", "value", "our key", "remark"):
        table.add_column(heading, overflow="fold")
    for entry in result["translated"]:
        table.add_row(*map(escape, (entry["old"], _short(entry["value"]), entry["new"], entry["note"])))
    yield table
    for heading, key, word in (("Without a counterpart", "left_out", "reason"), ("To decide", "to_decide", "question")):
        if result[key]:
            yield _remarks(heading, result[key], word)
    yield from verdict(result)


def verdict(result: dict[str, Any]) -> Iterator[str]:
    """List the written files, the open decisions, and the next command."""
    counts = ", ".join(f"{len(result[key])} {word}" for key, word in _COUNTED if result[key])
    yield f"read as {result['pipeline']}: {counts}"
    if result["files"]:
        yield f"written: {', '.join(map(escape, result['files']))}"
        yield f"next: segcli train {escape(quote(result['files'][0]))} --dry-run"


_COUNTED = (("translated", "translated"), ("left_out", "without a counterpart"), ("to_decide", "to decide"))


def _remarks(heading: str, remarks: Sequence[dict[str, Any]], word: str) -> Table:
    table = Table(title=heading, title_justify="left")
    for name in ("key", "value", word):
        table.add_column(name, overflow="fold")
    for remark in remarks:
        value = "" if remark["value"] is None else _short(remark["value"])
        table.add_row(escape(remark["key"]), escape(value), escape(remark[word]))
    return table


def _short(value: Any) -> str:
    return printable(str(plain(value)), 40)
