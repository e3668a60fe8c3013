"""Tables that fit a terminal of 80 columns without a broken number or word."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

__all__ = ["FittedTable"]

SHORTEST_NAME = 12
"""Names in the first column are broken, where there is no room, but not into shorter pieces."""


@dataclass(frozen=True)
class FittedTable:
    """Table whose columns are broken between words only, as far as the terminal has room.

    Rich alone shortens the widest columns, whatever they hold: it cuts numbers before it breaks a heading.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    """Cells, which may hold markup."""
    left: Sequence[str] = ()
    """Headings of the columns that are aligned left; the first column always is."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give a table whose columns have the widths that fit."""
        yield console.render_str(self.title, style="table.title")  # a table breaks its title at its own width
        made = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        widths = self.widths(options.max_width)
        for position, (heading, width) in enumerate(zip(self.headings, widths, strict=True)):
            is_left = position == 0 or heading in self.left
            made.add_column(heading, justify="left" if is_left else "right", width=width, overflow="fold")
        for row in self.rows:
            made.add_row(*row)
        yield made
        yield ""

    def widths(self, room: int) -> list[int]:
        """Share a number of characters out to the columns; two stand between columns."""
        columns = [[_plain(cell) for cell in cells] for cells in zip(self.headings, *self.rows, strict=True)]
        least = [_least(cells) for cells in columns]
        spare = room - 2 * len(columns) - sum(least)
        if spare < 0:
            least[0] = max(least[0] + spare, min(least[0], SHORTEST_NAME))
        widths, spare = list(least), max(spare, 0)
        for first in (1, 0):  # cells before headings
            needed = [
                max(map(len, cells[first:]), default=0) - have for cells, have in zip(columns, widths, strict=True)
            ]
            for position in sorted(range(len(columns)), key=needed.__getitem__):
                if 0 < needed[position] <= spare:
                    widths[position], spare = widths[position] + needed[position], spare - needed[position]
            longest = max(range(len(columns)), key=needed.__getitem__)
            if needed[longest] > spare:
                widths[longest], spare = widths[longest] + spare, 0
        return widths


def _least(cells: Sequence[str]) -> int:
    """Find the smallest width that breaks no word, and no interval such as `0.1 to 0.2`."""
    return max(len(piece) for cell in cells for piece in ([cell] if " to " in cell else cell.split(" ")))


def _plain(cell: str) -> str:
    return Text.from_markup(cell).plain
