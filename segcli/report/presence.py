"""Presence of structures in scored cases: a CSV table, and how far the confidence in it can be trusted."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from segcli.core.spreadsheet import write_cells
from segcli.report.html import Cell, joined, note, table

__all__ = ["TABLE", "Judgement", "reliability_section", "write_judgements"]

TABLE = "presence.csv"
COLUMNS = ("case", "structure", "present", "truth", "probability", "confidence")
BINS = 15
"""Bins of confidence, as in the metric `presence_ece`."""


@dataclass(frozen=True)
class Judgement:
    """Presence of one structure in one case."""

    case: str
    structure: str
    found: bool
    truth: bool
    certainty: Mapping[str, float]
    """Probability of presence and confidence in the prediction, if the network gives them."""


def write_judgements(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write a row for each structure of each case; a cell is empty if the network does not give the number."""
    rows: Iterator[Sequence[object]] = (
        [
            each.case,
            each.structure,
            int(each.found),
            int(each.truth),
            *(f"{each.certainty[name]:.4f}" if name in each.certainty else "" for name in COLUMNS[-2:]),
        ]
        for each in judgements
    )
    write_cells(path, [COLUMNS, *rows])


def reliability_section(judgements: Sequence[Judgement]) -> Markup:
    """Compare confidence with the share of right predictions of presence, for all structures together."""
    known = sorted((each for each in judgements if "confidence" in each.certainty), key=_bin)
    if not known:
        return Markup()
    rows: list[list[Cell]] = []
    for place, group in groupby(known, key=_bin):
        members = list(group)
        confidence = sum(each.certainty["confidence"] for each in members) / len(members)
        right = sum(each.found == each.truth for each in members) / len(members)
        span = f"{place / BINS:.2f} to {(place + 1) / BINS:.2f}"
        rows.append([span, len(members), confidence, right, right - confidence])
    headings = ["confidence", "predictions", "mean confidence", "share that is right", "difference"]
    text = (
        "presence_ece is the mean size of this difference, weighted by the predictions, for each structure by itself."
    )
    return joined([table("Confidence in presence, all structures together", headings, rows), note(text)])


def _bin(judgement: Judgement) -> int:
    return min(int(judgement.certainty["confidence"] * BINS), BINS - 1)
