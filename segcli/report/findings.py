"""Findings of `segcli data check` for a terminal: one row for the same finding of several files or splits."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.text import Text

from segcli.core.names import visible
from segcli.data.checks import MESSAGES_PER_CODE, Finding, Severity

__all__ = ["Row", "rows_of", "wrapped"]

SPLIT = re.compile(r"`(train|val|test)`")
WORD = re.compile(r"(?:`[^`]*`|\S)+")
STYLES: dict[str, str] = {"error": "bold red", "warning": "yellow", "info": "dim"}


def wrapped(text: str, width: int) -> list[str]:
    """Break a text at spaces, but never within backticks, so that keys and names of files can be copied.

    Example:
        >>> wrapped("set `a long key` there", 12)
        ['set', '`a long key`', 'there']
    """
    lines = [""]
    for word in WORD.findall(text):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


@dataclass
class Row:
    """Finding, with the messages of all files and splits that have it; the console breaks no word of it."""

    severity: Severity
    code: str
    messages: list[str]
    hint: str
    more: int = 0
    """Number of messages that are left out after this row."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text.assemble((self.severity, STYLES[self.severity]), "  ", self.code)
        more = [f"and {self.more} more like this: `--json` lists all"] if self.more else []
        for text in [*self.messages, *more]:
            yield from _lines(text, "  ", options.max_width)
        if self.hint:
            yield from _lines(f"hint: {self.hint}", "  ", options.max_width, style="dim")


def _lines(text: str, indent: str, width: int, style: str = "") -> Iterator[Text]:
    for number, line in enumerate(wrapped(visible(text), width - 2 * len(indent))):
        before = "" if len(line) > width - 2 * len(indent) else indent if number == 0 else 2 * indent
        yield Text(f"{before}{line}", style=style)


def rows_of(findings: Sequence[Finding]) -> list[Row]:
    """Put findings with the same code, severity and hint into one row; of each code only the first few are shown."""
    rows: list[Row] = []
    for code in dict.fromkeys(finding.code for finding in findings):
        same: dict[tuple[Severity, str], list[str]] = {}
        for finding in findings:
            if finding.code == code:
                same.setdefault((finding.severity, finding.hint), []).append(finding.message)
        left = MESSAGES_PER_CODE
        made: list[Row] = []
        more = 0
        for (severity, hint), messages in same.items():
            messages = _together(messages)  # noqa: PLW2901 - the same messages
            if left > 0:
                made.append(Row(severity, code, messages[:left], hint))
            more += max(len(messages) - max(left, 0), 0)
            left -= len(messages)
        made[-1].more = more
        rows += made
    return rows


def _together(messages: Sequence[str]) -> list[str]:
    """Join messages that differ only in the name of the split.

    Example:
        >>> _together(["`val` has no `car`", "`a.png` is empty", "`test` has no `car`"])
        ['`val` and `test` has no `car`', '`a.png` is empty']
    """
    splits: dict[str, list[str]] = {}
    for message in messages:
        named = SPLIT.findall(message)
        key = SPLIT.sub("\0", message) if len(named) == 1 else message
        splits.setdefault(key, []).extend(named if len(named) == 1 else [])
    return [
        key.replace("\0", " and ".join(f"`{name}`" for name in dict.fromkeys(names))) for key, names in splits.items()
    ]
