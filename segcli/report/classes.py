"""Write files of a classification: predicted classes as CSV, the most confident mistakes, and training curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.files import replacing
from segcli.core.spreadsheet import write_cells
from segcli.core.types import Array

__all__ = ["MOST_MISTAKES", "Row", "write_answers", "write_curves", "write_mistakes"]

MOST_MISTAKES = 12
COLUMNS = 4
TITLE = 0.65
"""Inches above each cell for its title."""
FEW = 30
"""Curves of fewer epochs have a dot for each."""


@dataclass(frozen=True)
class Row:
    """Predicted class of one image or sample."""

    name: str
    probs: Array
    """Probability of each class, `(K)`."""
    parts: int
    """Number of crops whose probabilities were averaged."""
    truth: int | None = None

    @property
    def found(self) -> int:
        """Index of the most probable class; of equal ones the first."""
        return int(self.probs.argmax())


def write_answers(path: Path, rows: Sequence[Row], classes: Sequence[str], word: str) -> None:
    """Write a CSV: name, predicted class, its probability, all probabilities, number of crops, and truth if known."""
    known = any(row.truth is not None for row in rows)
    shares = [f"probability_{name}" for name in classes]
    table: list[list[object]] = [
        [word, "class", "probability", *shares, "crops", *(["true_class", "right"] if known else [])]
    ]
    for row in rows:
        probs = [f"{value:.6f}" for value in row.probs.tolist()]
        line: list[object] = [row.name, classes[row.found], probs[row.found], *probs, row.parts]
        if row.truth is not None:
            line += [classes[row.truth], int(row.truth == row.found)]
        table.append(line)
    write_cells(path, table)


def write_mistakes(path: Path, pictures: Sequence[tuple[Row, Array]], classes: Sequence[str]) -> None:
    """Draw the middle slice `(H, W)` of each wrong prediction, the most confident first."""
    figure, cells = _grid(min(len(pictures), MOST_MISTAKES))
    for axes, (row, picture) in zip(cells, pictures, strict=False):
        axes.set_axis_on()  # the layout makes no room for the title of hidden axes
        axes.set(xticks=[], yticks=[])
        axes.imshow(picture, cmap="gray")
        truth = "?" if row.truth is None else classes[row.truth]
        told = f"{row.name}\ntrue {truth}\npredicted {classes[row.found]} ({row.probs.max():.0%})"
        axes.set_title(told, fontsize=8, loc="left")
    _save(figure, path)


def write_curves(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Draw each loss and metric by epoch, training and validation in one diagram."""
    names = list(dict.fromkeys(name for entry in history for name in entry["train"]))
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - takes half a second to import

    figure, cells = _grid(len(names), side=3.2)
    for axes, name in zip(cells, names, strict=False):
        axes.set_axis_on()
        for label, dashes, values in (
            ("training", "-", {entry["epoch"]: entry["train"].get(name) for entry in history}),
            ("validation", "--", {entry["epoch"]: entry["val"].get(f"val_{name}") for entry in history}),
        ):
            known = {epoch: value for epoch, value in values.items() if value is not None}
            axes.plot(list(known), list(known.values()), dashes, label=label, marker="." if len(known) < FEW else "")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.set_title(name, loc="left", fontsize=9)
        axes.set_xlabel("epoch")
        axes.legend(fontsize=7)
    _save(figure, path)


def _grid(count: int, side: float = 1.8) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second to import

    columns = max(min(count, COLUMNS), 1)
    rows = max(-(-count // columns), 1)
    figure = Figure(figsize=(side * columns, (side + TITLE) * rows), dpi=110, layout="constrained")
    cells = np.atleast_1d(figure.subplots(rows, columns)).ravel().tolist()
    for axes in cells:
        axes.set_axis_off()
    return figure, cells


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
