import io

import pytest
from rich.console import Console

from segcli.report.narrow import FittedTable

HEADINGS = ["metric", "value", "95 % interval", "scope", "all pixels", "images"]
ROWS = [
    ["frequency_weighted_iou", "[bold]0.4788[/]", "0.4447 to 0.5127", "all pixels", "0.4788", "12"],
    ["surface_dice (within 1 mm)", "[bold]0.8812[/]", "0.8000 to 0.9000", "mean over images", "0.8816", "12"],
]


def printed(width):
    console = Console(width=width, file=io.StringIO())
    console.print(FittedTable("Title", HEADINGS, ROWS, left=("metric", "scope")))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [76, 80, 100, 120, 200])
def test_no_number_and_no_word_is_broken_where_words_have_room(width):
    lines = printed(width)
    assert max(len(line.rstrip()) for line in lines) <= width
    words = " ".join(lines).split()
    for cell in (cell for row in [HEADINGS, *ROWS] for cell in row):
        for word in cell.replace("[bold]", "").replace("[/]", "").split():
            assert word in words
    assert all(interval in "\n".join(lines) for interval in ("0.4447 to 0.5127", "0.8000 to 0.9000"))


def test_a_wide_terminal_has_a_line_for_each_row():
    assert len([line for line in printed(120) if line.strip()]) == 1 + 2 + len(ROWS)


def test_a_name_is_broken_before_a_number_where_there_is_no_room():
    lines = printed(66)
    assert "frequency_weighted_iou" not in " ".join(lines)
    assert "0.4447 to 0.5127" in "\n".join(lines)
