from io import StringIO
from pathlib import Path

from rich.console import Console

from segcli.report.data_tables import split
from segcli.report.results import SplitDrawn


def test_the_heading_above_a_drawn_split_is_not_broken_at_the_width_of_the_table():
    sizes = {"train": 8, "val": 2}
    drawn = SplitDrawn(
        dataset="cells of three long experiments",
        file=Path("cells/split.yaml"),
        unit="image",
        names={name: ["a"] * count for name, count in sizes.items()},
        num_images=sizes,
        moved=None,
    )
    console = Console(width=80, record=True, file=StringIO())
    for part in split(drawn):
        console.print(part)
    assert console.export_text().splitlines()[0] == "Split of cells of three long experiments"
