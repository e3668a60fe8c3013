"""Sections that the reports of a training and of an evaluation share: curves, cases, confusion matrix, config."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from segcli.core.types import Array
from segcli.data.classes.colors import RGB
from segcli.data.classes.mistakes import MISTAKES, MistakeColors
from segcli.report.cells import with_unit
from segcli.report.charts import Curve, chart
from segcli.report.html import (
    code,
    facts,
    folded,
    joined,
    note,
    number,
    picture,
    table,
    without_passwords,
)
from segcli.report.pictures import CasePicture

__all__ = [
    "RunFacts",
    "cases_section",
    "commands_section",
    "confusion_section",
    "curves_section",
    "details_section",
    "legend",
]

LINES = (
    '<p class="keys"><span><i class="key train"></i>training</span><span><i class="key val"></i>validation</span></p>'
)
WRONG = "found, not true"
"""Name of false positives in legends."""
MOST_CLASSES = 40
"""With more classes the report lists the most frequent confusions and has no matrix."""
STRONGEST = 0.75
"""Opacity of a cell whose share is 1; low enough to read the number."""


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run that every report shows."""

    dataset: str
    model: str
    parameters: int
    device: str
    config: str
    """Content of `config.yaml`."""
    environment: str | None = None
    """Content of `environment.yaml`; None for a checkpoint without a run folder."""
    history: Sequence[Mapping[str, Any]] = ()
    """Entries of `metrics_history.yaml`."""
    colors: Mapping[str, RGB] = field(default_factory=dict)
    """Colour of each class in pictures; empty for a single mask."""
    mistakes: MistakeColors = MISTAKES
    """Colours of mistakes in pictures."""
    unit: str = "pixels"
    """Unit that has a class: `pixels`, `voxels`, `images` or `crops`."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Unit of each metric that has one, such as `mm`."""
    is_exclusive: bool = False
    """True if each pixel has exactly one class."""

    @property
    def network(self) -> str:
        """Name and size of the network."""
        return f"{self.model}, {self.parameters:,} parameters"


def curves_section(
    history: Sequence[Mapping[str, Any]],
    *,
    mark: int | None,
    monitor: str | None = None,
    units: Mapping[str, str] | None = None,
) -> Markup:
    """Draw a chart for each loss and metric: the loss and the monitored value first, the learning rate last.

    Args:
        history: Entries of `metrics_history.yaml`.
        mark: Epoch with a vertical line.
        monitor: Value that decides which epoch is the best, such as `val_dice`.
        units: Unit of each metric that has one.
    """
    if not history:
        return Markup()
    names = dict.fromkeys(name for entry in history for name in (*entry["train"], *map(_bare, entry["val"])))
    first = [name for name in ("loss", _bare(monitor or "")) if name in names]
    charts = [_figure(name, history, mark, units or {}) for name in dict.fromkeys([*first, *names])]
    rates = [(entry["epoch"], entry["learning_rate"]) for entry in history if "learning_rate" in entry]
    if rates:
        charts.append(chart("learning rate", [Curve("learning rate", "train", rates)], mark=mark))
    return joined([Markup(LINES), Markup(f'<div class="grid">\n{joined(charts)}\n</div>')])


def _bare(name: str) -> str:
    return name.removeprefix("val_")


def _figure(name: str, history: Sequence[Mapping[str, Any]], mark: int | None, units: Mapping[str, str]) -> Markup:
    train = [(entry["epoch"], entry["train"][name]) for entry in history if name in entry["train"]]
    val = [(entry["epoch"], entry["val"][f"val_{name}"]) for entry in history if f"val_{name}" in entry["val"]]
    curves = [Curve("training", "train", train), Curve("validation", "val", val)]
    values = [
        f"{curve.label} {value:.4f}"
        for curve in curves
        for epoch, value in curve.points
        if epoch == mark and math.isfinite(value)
    ]
    caption = f"epoch {mark}: {', '.join(values)}" if values else ""
    return chart(with_unit(name, units), [curve for curve in curves if curve.points], mark=mark, caption=caption)


def cases_section(
    worst: Sequence[CasePicture], best: Sequence[CasePicture], *, ranked_by: str, run: RunFacts
) -> Markup:
    """Show pictures of the worst and the best cases, with a legend."""
    if not worst and not best:
        return Markup()
    sliced = "; the slice with the most mistakes" if any(case.place for case in (*worst, *best)) else ""
    right, missed, false = run.mistakes
    mistakes = {"another class": missed} if run.is_exclusive else {"right": right, "missed": missed, WRONG: false}
    ranked_by = with_unit(ranked_by, run.units)
    parts: list[Markup] = [note(f"By {ranked_by}{sliced}."), legend(run.colors), legend(mistakes)]
    for heading, cases in (("Worst", worst), ("Best", best)):
        if cases:
            parts.append(Markup(f"<h3>{heading}</h3>"))
            parts += [_case(case, ranked_by) for case in cases]
    return joined(parts)


def legend(colors: Mapping[str, RGB]) -> Markup:
    """Show names with their colours."""
    if not colors:
        return Markup()
    inner = "".join(
        f'<span><i class="key" style="background:rgb({red},{green},{blue})"></i>{escape(name)}</span>'
        for name, (red, green, blue) in colors.items()
    )
    return Markup(f'<p class="keys">{inner}</p>')


def _case(case: CasePicture, ranked_by: str) -> Markup:
    place = f", {case.place}" if case.place else ""
    line = Markup(f"<p><b>{escape(case.name)}</b> {escape(ranked_by)} {number(case.value)}{escape(place)}</p>")
    panels = joined(picture(pixels, f"{shown} of {case.name}{place}", shown) for shown, pixels in case.panels.items())
    return Markup(f'<div class="case">\n{line}\n<div class="panels">\n{panels}\n</div>\n</div>')


def confusion_section(confusion: Array | None, classes: Sequence[str], unit: str) -> Markup:
    """Show the confusion matrix `(K, K)` as shares and as counts; for very many classes, the most frequent pairs.

    Args:
        confusion: Counts by true class (row) and predicted class (column); nothing is shown for None.
        classes: Names of the classes.
        unit: Word for what is counted, such as `pixels`.
    """
    if confusion is None:
        return Markup()
    true = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, true, out=np.full(confusion.shape, np.nan), where=true > 0)
    if len(classes) > MOST_CLASSES:
        return _pairs(confusion, shares, classes, unit)
    headings = ["true \\ predicted", *classes]
    relative = table(
        f"Share of the {unit} of each true class (row) by predicted class (column), in percent",
        headings,
        ([name, *map(_share, row)] for name, row in zip(classes, shares.tolist(), strict=True)),
        kind="matrix",
    )
    counts = table(
        f"Number of {unit}",
        headings,
        ([name, *row] for name, row in zip(classes, confusion.astype(int).tolist(), strict=True)),
        kind="matrix",
    )
    return joined([relative, folded(f"In {unit}", counts)])


def _share(value: float) -> Markup:
    if math.isnan(value):
        return Markup("<td>&ndash;</td>")
    shade = f' style="background:rgb(37 99 176 / {STRONGEST * value:.3f})"' if value >= 0.005 else ""
    return Markup(f'<td{shade}><data value="{value!r}">{100 * value:.1f}</data></td>')


def _pairs(confusion: Array, shares: Array, classes: Sequence[str], unit: str) -> Markup:
    wrong = confusion * (1 - np.eye(len(classes), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CLASSES]
    places = [divmod(int(place), len(classes)) for place in order if wrong.flat[place] > 0]
    return table(
        f"Most frequent confusions of {len(classes)} classes",
        ["true", "predicted", unit, "share of the true class"],
        ([classes[row], classes[col], int(confusion[row, col]), float(shares[row, col])] for row, col in places),
    )


def commands_section(commands: Mapping[str, str]) -> Markup:
    """List command lines by their purpose."""
    return facts({name: Markup(f"<code>{escape(without_passwords(text))}</code>") for name, text in commands.items()})


def details_section(run: RunFacts) -> Markup:
    """Show config and environment, without passwords in addresses."""
    return joined(_details(run))


def _details(run: RunFacts) -> Iterator[Markup]:
    yield folded("Config", code(without_passwords(run.config)))
    if run.environment is not None:
        yield folded("Environment", code(without_passwords(run.environment)))
