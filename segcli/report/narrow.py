"""Tables that fit a terminal of 80 columns without a broken number or word."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

__all__ = ["table_of"]

LONGEST_NAME = 24
"""Names in the first column are broken only if they are longer."""


def table_of(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = ()) -> Table:
    """Build a table that is broken between words only, where the terminal is narrow.

    Args:
        title: Title above the table.
        headings: Headings of the columns.
        rows: Cells, which may hold markup.
        left: Headings of the columns that are aligned left; the first column always is.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for position, heading in enumerate(headings):
        words = [word for cell in (heading, *(row[position] for row in rows)) for word in _words(cell)]
        longest = max(map(len, words), default=1)
        is_name = position == 0
        table.add_column(
            heading,
            justify="left" if is_name or heading in left else "right",
            min_width=min(longest, LONGEST_NAME) if is_name else longest,
            overflow="fold" if is_name else "ellipsis",
            no_wrap=any(" to " in row[position] for row in rows),
        )
    for row in rows:
        table.add_row(*row)
    return table


def _words(cell: str) -> list[str]:
    return Text.from_markup(cell).plain.split()
