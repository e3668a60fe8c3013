"""Write the confusion matrix as a picture and as a table for a spreadsheet."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segcli.core.files import replacing
from segcli.core.spreadsheet import write_cells
from segcli.core.types import Array

__all__ = ["drawn_matrix", "write_matrix"]

CELL_INCHES = 0.42
BARE_INCHES = 0.11
"""Least height of a cell without a number, for which a name of six points is as high as its row."""
DARK = 0.65
"""Cells with a larger share are dark and have white numbers."""
POINTS = 72
"""Points of type in an inch."""
MOST_NUMBERS = 30
"""With more classes the cells have no numbers, which would be too small to read."""


def write_matrix(folder: Path, pixels: Array, names: Sequence[str], unit: str = "pixels") -> None:
    """Write `confusion_matrix.csv` (pixels) and `confusion_matrix.png` (shares of each true class).

    For other units than pixels, such as samples, write the shares as `confusion_matrix_normalised.csv` and the counts
    as `confusion_matrix_counts.png` too.
    """
    _write_table(folder / "confusion_matrix.csv", pixels.tolist(), names)
    with replacing(folder / "confusion_matrix.png") as temporary:
        temporary.write_bytes(drawn_matrix(pixels, names, unit=unit))
    if unit != "pixels":
        shares = [[round(value, 6) for value in row] for row in _shares(pixels).tolist()]
        _write_table(folder / "confusion_matrix_normalised.csv", shares, names)
        with replacing(folder / "confusion_matrix_counts.png") as temporary:
            temporary.write_bytes(drawn_matrix(pixels, names, unit=unit, counts=True))


def _write_table(path: Path, rows: Sequence[Sequence[float]], names: Sequence[str]) -> None:
    write_cells(path, [["true \\ found", *names], *([name, *row] for name, row in zip(names, rows, strict=True))])


def _shares(pixels: Array) -> Array:
    true = pixels.sum(axis=1, keepdims=True)
    shares: Array = np.divide(pixels, true, out=np.zeros(pixels.shape), where=true > 0)
    return shares


def drawn_matrix(pixels: Array, names: Sequence[str], *, unit: str = "pixels", counts: bool = False) -> bytes:
    """Draw the matrix `(K, K)` as PNG, each row divided by its sum; a class without true pixels has an empty row.

    Args:
        pixels: Counts by true class (row) and predicted class (column).
        names: Names of the classes.
        unit: Word for what is counted, such as `pixels`.
        counts: Write counts into the cells, not percentages.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second to import
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    true = pixels.sum(axis=1, keepdims=True)
    shares = _shares(pixels)
    # the memory of the picture grows with the square of its side
    side = max(3.5, CELL_INCHES * min(len(names), MOST_NUMBERS), BARE_INCHES * len(names))
    letters = min(10.0, 0.8 * POINTS * side / len(names))
    figure = Figure(figsize=(side + 2.2, side + 1.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    labels = [name if true[index] else f"{name} (absent)" for index, name in enumerate(names)]
    axes.set_xticks(range(len(names)), list(names), rotation=60, ha="right", rotation_mode="anchor", size=letters)
    axes.set_yticks(range(len(names)), labels, size=letters)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("Number" if counts else f"Share of each true class in %, by {unit}", loc="left")
    if len(names) <= MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            if true[row]:
                colour = "white" if share > DARK else "black" if share >= 0.005 else "0.75"
                axes.text(
                    column,
                    row,
                    f"{int(pixels[row, column])}" if counts else f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=8,
                )
    figure.colorbar(picture, ax=axes, shrink=0.7, format=PercentFormatter(1.0))
    written = io.BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()
