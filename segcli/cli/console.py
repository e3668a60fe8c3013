"""Print results to stdout and everything else to stderr; no other file prints."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from segcli.cli import starting
from segcli.cli.progress import PlainProgress, QuietProgress, RichProgress
from segcli.commands.locate import BEGUN
from segcli.config.shipped import shipped as find_shipped
from segcli.core.errors import SegcliError, Stopped
from segcli.core.files import typed
from segcli.core.names import visible
from segcli.core.ranks import place
from segcli.report.narrow import FittedTable

if TYPE_CHECKING:
    from segcli.commands.locate import Located
    from segcli.engine.events import Listener
    from segcli.planning.facts import Option, Question

__all__ = ["aside", "ask", "asker", "error", "listener", "next_step", "result", "shipped", "stopped", "text", "took"]

PLAIN_WIDTH = 110
"""Width in columns when the output is not a terminal."""
WRAPPED = (Table, FittedTable, Group, Text)
"""Parts of a result that are broken at the width; a line of plain text is left to the terminal, to be copied whole."""


class _Shown(Console):
    """Console that shows control characters in names of files as escapes, and no word as a picture."""

    def render_str(self, text: str, *arguments: Any, **options: Any) -> Text:
        return super().render_str(visible(text), *arguments, **options)


def _console(*, stderr: bool) -> Console:
    starting.end()
    stream = sys.stderr if stderr else sys.stdout
    # looked up for every line, because a tracker may have replaced the stream to record it
    width = None if stream.isatty() else PLAIN_WIDTH
    return _Shown(stderr=stderr, highlight=False, soft_wrap=False, emoji=False, width=width)


def error(mistake: SegcliError) -> None:
    """Print the message and the hint of a user's mistake."""
    console = _console(stderr=True)
    console.print(f"[bold red]error:[/] {_escape(mistake.message)}", soft_wrap=True)
    if mistake.hint:
        console.print(f"  [dim]hint:[/] {_escape(mistake.hint)}", soft_wrap=True)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def result(values: dict[str, Any], tables: Iterable[Any], *, as_json: bool, quiet: bool) -> None:
    """Print a command's result: one JSON document, or tables unless quiet."""
    if as_json:
        text = json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("".join(map(_json_letter, text)) + "\n")
        return
    if quiet:
        return
    console = _console(stderr=False)
    for table in tables:
        console.print(table, soft_wrap=not isinstance(table, WRAPPED))


def text(content: str) -> None:
    """Print the content of a file without formatting, for a redirection."""
    starting.end()
    sys.stdout.write(content)


def _json_letter(letter: str) -> str:
    return letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1]


def shipped(config: Path, *, quiet: bool, datasets: bool = False) -> None:
    """Print the file that was taken for the name of a shipped config."""
    found = find_shipped(config, datasets=datasets)
    if found is not None and not quiet:
        _console(stderr=True).print(f"config: {_escape(str(found))}", soft_wrap=True)


def aside(tables: Iterable[Any]) -> None:
    """Print tables that are not the result of the command."""
    console = _console(stderr=True)
    for table in tables:
        console.print(table, soft_wrap=not isinstance(table, WRAPPED))


def next_step(command: str | None, *, quiet: bool) -> None:
    """Print the command that comes next, in one piece."""
    if command is not None and not quiet:
        _console(stderr=True).print(f"[dim]next:[/] {_escape(command)}", soft_wrap=True)


def ask(question: "Question") -> "Option":
    """Ask on the terminal; the first option is taken by Enter alone."""
    import typer

    console = _console(stderr=True)
    console.print(f"[bold]{_escape(question.text)}[/]", soft_wrap=True)
    for number, option in enumerate(question.options, start=1):
        console.print(f"  {number}  {_escape(option.words)} [dim]{_escape(' '.join(option.given))}[/]", soft_wrap=True)
    while True:
        answer: int = typer.prompt("answer", default=1, type=int, err=True)
        if 1 <= answer <= len(question.options):
            return question.options[answer - 1]


def asker(*, quiet: bool) -> Callable[["Question"], "Option"] | None:
    """Return what asks a person; None without a terminal, and if quiet."""
    return ask if sys.stdin.isatty() and sys.stderr.isatty() and not quiet else None


def _finite(value: Any) -> Any:
    """Replace undefined values by None, because JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def took(located: "Located", listener: "Listener") -> None:
    """Print the name of the newest run if it was chosen because none was named."""
    if located.newest:
        listener.notice(f"run: {located.folder.name} (the newest)")


@contextmanager
def listener(*, quiet: bool, resumed_by: Path | None = None) -> Iterator["Listener"]:
    """Show the engine's progress: live on a terminal, as a line now and then elsewhere.

    Args:
        quiet: Show nothing but warnings.
        resumed_by: Run folder for the `resume` command that is printed when a signal stops the work.
    """
    began = starting.end()
    console = _console(stderr=True)
    shown = (
        QuietProgress(console)
        if quiet
        else RichProgress(console, began)
        if console.is_interactive
        else PlainProgress(console)
    )
    try:
        with shown:
            yield shown
    except Stopped as error:
        stopped(error, resumed_by)
        raise


def stopped(error: Stopped, resumed_by: Path | None) -> None:
    """Tell that a signal has stopped the work.

    Of processes that segcli has started, the one that started them tells: they may be stopped because one has failed.

    Args:
        error: The stop.
        resumed_by: Run folder for the `resume` command.
    """
    here = place()
    if here is None or here.folder is None:
        text = "stopped"
        if resumed_by is not None and any((resumed_by / name).exists() for name in ("checkpoints", BEGUN)):
            text = f"stopped; continue with: segcli resume {typed(resumed_by)}"
        _console(stderr=True).print(text, soft_wrap=True, markup=False)
    error.is_shown = True
