"""The lines that move at the bottom of a terminal; what does not fit is left out, never cut."""

import textwrap
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.text import Text

from segcli.core.names import visible

__all__ = ["GLUE", "Board", "Place", "duration", "folded"]

GAP = "  "
"""Space between two parts of a line."""
INDENT = "    "
"""Begin of the second line of a text."""
GLUE = "\xa0"
"""Space at which a line is never broken."""
LONGEST_BAR, SHORTEST_BAR = 40, 6
"""Width of a bar in columns; a terminal without room for the shortest shows none."""
VALUE_LINES = 2
"""Most lines of values below the bar."""


@dataclass
class Place:
    """Position in a stage of work."""

    text: str
    total: int | None = None
    """Number of items; None if it is not known."""
    done: int = 0
    left_s: float | None = None
    """Seconds until the end, if the engine knows them; otherwise they follow from the speed so far."""
    began: float = field(default_factory=time.monotonic)

    @property
    def count(self) -> str:
        """Number of items done and in all."""
        return "" if self.total is None else f"{self.done}/{self.total}"

    @property
    def time(self) -> str:
        """Time left, or the time so far as long as no item is done."""
        passed_s = time.monotonic() - self.began
        if self.left_s is not None:
            return f"{duration(self.left_s)} left"
        if self.total is None or not self.done:
            return f"{duration(passed_s)} so far"
        return f"{duration(passed_s / self.done * max(self.total - self.done, 0))} left"


@dataclass
class Board:
    """Draws a place as one line, and values below.

    Args:
        place: Stage, bar, count and time left; all stand in the first line.
        values: The most important first; those that do not fit are left out.
    """

    place: Place
    values: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, ends = options.max_width, [part for part in (self.place.count, self.place.time) if part]
        room = width - sum(len(GAP) + cell_len(part) for part in ends)
        text = _shortened(visible(self.place.text), room)
        bar = min(LONGEST_BAR, room - cell_len(text) - len(GAP))
        yield Text(text, end="")
        if bar >= SHORTEST_BAR:
            yield Text(GAP, end="")
            yield ProgressBar(self.place.total, self.place.done, width=bar)
        yield Text("".join(GAP + part for part in ends), no_wrap=True, overflow="crop")
        for line in _packed(self.values, width)[:VALUE_LINES]:
            yield Text(line, style="dim", no_wrap=True, overflow="crop")


def _shortened(text: str, room: int) -> str:
    """Cut a text that would leave no room for the shortest bar."""
    longest = max(room - len(GAP) - SHORTEST_BAR, 4)
    return text if cell_len(text) <= longest else set_cell_size(text, longest - 3) + "..."


def _packed(parts: Iterable[str], width: int) -> list[str]:
    """Fill lines with parts; a part that no line can hold is left out."""
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1] + GAP + part) <= width:
            lines[-1] += GAP + part
        elif cell_len(part) <= width:
            lines.append(part)
    return lines


def folded(parts: Iterable[str], width: int) -> str:
    """Fill lines with parts; a part that no line can hold is broken at its spaces, but never at `GLUE`.

    Example:
        >>> print(folded(["epoch 1/9", f"train loss{GLUE}0.1234 dice{GLUE}0.5678", "best"], 24).replace(GLUE, " "))
        epoch 1/9
            train loss 0.1234
            dice 0.5678  best
    """
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1] + GAP + part) <= width:
            lines[-1] += GAP + part
            continue
        room = max(width - len(INDENT), 1)
        for line in textwrap.wrap(part, room, break_long_words=False, break_on_hyphens=False):
            lines.append(INDENT + line if lines else line)
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Write seconds for a reader.

    Example:
        >>> duration(7.2), duration(80), duration(3700)
        ('7 s', '1 min 20 s', '1 h 01 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
