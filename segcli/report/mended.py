"""Result of `segcli data check --fix`, and its lines for a terminal."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from segcli.core.files import shown
from segcli.report.cells import plural
from segcli.report.results import Result

__all__ = ["Mended", "mended"]


@dataclass(frozen=True)
class Mended(Result):
    """Result of `data check --fix`: the corrected copy of a data set."""

    folder: Path
    num_images: int
    done: list[str]
    """What was done, for each file that changed."""
    left: list[str]
    """Files that could not be mended, and why."""
    out: list[str]
    """Files that were not copied: they belong to no image, or are links that lead nowhere."""


def mended(result: Mended) -> Iterator[Any]:
    """Count what was done to the files of the copy."""
    changed = Counter(what for line in result.done for what in line.rpartition(": ")[2].split(", "))
    yield f"wrote {plural(result.num_images, 'image')} to {escape(shown(result.folder))}"
    for what, count in changed.most_common():
        yield f"  {plural(count, 'file')}: {escape(what)}"
    yield f"[dim]each file is listed in {escape(shown(result.folder / 'mended.txt'))}[/]"
    if result.left:
        yield f"  {plural(len(result.left), 'file')} copied as they are, such as {escape(result.left[0])}"
    if result.out:
        yield f"  {plural(len(result.out), 'file')} not copied, such as {escape(result.out[0])}"
